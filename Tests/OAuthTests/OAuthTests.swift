import Testing

@Suite struct OAuthTests {}
