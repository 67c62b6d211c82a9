"""Labels, zones, documents, bundles and the decision. Nothing here does I/O but `bundle_store`."""
