import Testing

@Suite struct OAuthClientAsyncHTTPTests {}
