import Testing

@Suite struct BrokerTests {}
