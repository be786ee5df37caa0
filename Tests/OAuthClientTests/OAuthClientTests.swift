import Testing

@Suite struct OAuthClientTests {}
