import Testing

@Suite struct RehearsalProviderTests {}
