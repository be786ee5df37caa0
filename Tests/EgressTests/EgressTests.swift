import Testing

@Suite struct EgressTests {}
