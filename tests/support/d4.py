"""The zone rule once more, in the wording of standards.md D4: shares nothing with the code under test."""

CODES = ["NET", "E-I", "E-P", "E-D", "I-3", "I-4", "I-5"]


def reference(source: str, target: str, level: int, ceil: dict[str, int]) -> str:
    """Return the letter for two classes by code, a level, and the ceilings by code; one code twice is one zone."""

    def net(zone: str) -> str:
        return "NET" if zone == "NET" else ("EXTRA" if zone.startswith("E") else "INTRA")

    def inside_intra() -> str:
        if ceil[target] > ceil[source]:
            return "M" if target == "I-5" else "G"
        if level > ceil[target]:
            return "X"
        return "D" if source == "I-5" else "R"

    if source == "NET":
        if target == "NET":
            return "-"
        if level >= 2:
            return "Q"
        return "G" if target == "E-I" and level <= ceil[target] else "X"
    if level > ceil[source]:
        return "Q"
    if source == target:
        return "A"
    match net(source), net(target):
        case _, "NET":
            return "X" if source != "E-I" else ("O" if level == 0 else "S")
        case "EXTRA", "EXTRA":
            skips = {source, target} == {"E-I", "E-D"}
            return "G" if not skips and level <= ceil[target] else "X"
        case "EXTRA", "INTRA":
            return "X" if source == "E-I" else ("M" if target == "I-5" else "I")
        case "INTRA", "EXTRA":
            forbidden = target == "E-I" or source == "I-5" or level > ceil[target]
            return "X" if forbidden else "D"
        case _:
            return inside_intra()
