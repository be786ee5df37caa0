import Crypto
import Foundation
import OAuth
import Testing

@testable import Vault

@Suite struct KeyringTests {
    let place = Keyring.Place(table: "grant", uid: "u", field: "access_token", generation: 3)

    private func keyring(_ text: String? = nil, _ opened: Opened) async throws -> Keyring {
        try await Keyring(masterKeys: .init(parsing: text ?? Keyring.MasterKeys.generate()), store: opened.store)
    }

    @Test func whatIsSealedOpensAtItsPlaceOnly() async throws {  // SEC-121
        let opened = try await Backend.sqlite.open()
        let keyring = try await keyring(nil, opened)
        let sealed = try keyring.seal(Array("secret".utf8), at: place, scope: nil)
        #expect(try keyring.open(sealed, at: place) == Array("secret".utf8))
        for change: (inout Keyring.Place) -> Void in [
            { $0.table = "connection" }, { $0.uid = "v" }, { $0.field = "refresh_token" }, { $0.generation = 4 }, { ($0.table, $0.uid) = ("grantu", "") },
        ] {
            var other = place
            change(&other)
            #expect(throws: KeyringError.damaged) { try keyring.open(sealed, at: other) }
        }
        #expect(try keyring.seal([1], at: place, scope: nil) != keyring.seal([1], at: place, scope: nil))
    }

    @Test func everyChangedByteIsNoticed() async throws {  // SEC-118
        let opened = try await Backend.sqlite.open()
        let keyring = try await keyring(nil, opened)
        let sealed = try keyring.seal(Array("secret".utf8), at: place, scope: nil)
        for index in sealed.bytes.indices {
            var bytes = sealed.bytes
            bytes[index] ^= 1
            #expect(throws: KeyringError.self) { try keyring.open(Sealed(bytes: bytes), at: place) }
        }
        for count in [0, 1, 20, sealed.bytes.count - 1] {
            #expect(throws: KeyringError.self) { try keyring.open(Sealed(bytes: Array(sealed.bytes.prefix(count))), at: place) }
        }
    }

    @Test("No salt and no nonce comes twice (SEC-120)") func saltsAndNoncesDiffer() async throws {
        let opened = try await Backend.sqlite.open()
        let keyring = try await keyring(nil, opened)
        var salts: Set<[UInt8]> = []
        var nonces: Set<[UInt8]> = []
        for _ in 0..<10_000 {
            let bytes = try keyring.seal([1], at: place, scope: nil).bytes
            #expect(salts.insert(Array(bytes[6..<22])).inserted && nonces.insert(Array(bytes[22..<34])).inserted)
        }
    }

    @Test("What one connection's key sealed opens with no other's (SEC-125)", arguments: Backend.allCases) func keysAreApart(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let keyring = try await keyring(nil, opened)
        let scopes = [UID(text: "connection-1"), UID(text: "connection-2")]
        for scope in scopes { try await keyring.prepare(scope: scope) }
        let sealed = try scopes.map { try keyring.seal([7], at: place, scope: $0).bytes }
        // The key's id is in the header: with the other's, the ciphertext is damaged.
        for (own, other) in [(sealed[0], sealed[1]), (sealed[1], sealed[0])] {
            #expect(own[2..<6] != other[2..<6])
            #expect(throws: KeyringError.damaged) { try keyring.open(Sealed(bytes: Array(own[..<2] + other[2..<6] + own[6...])), at: place) }
        }
    }

    @Test(arguments: Backend.allCases) func eachConnectionHasItsOwnKeyAndLosesItForGood(_ backend: Backend) async throws {  // SEC-53
        let opened = try await backend.open()
        let text = Keyring.MasterKeys.generate()
        let keyring = try await keyring(text, opened)
        let scope = UID(text: "connection-1")
        #expect(throws: KeyringError.noDataKey) { try keyring.seal([1], at: place, scope: scope) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            for _ in 0..<20 { group.addTask { try await keyring.prepare(scope: scope) } }
            try await group.waitForAll()
        }
        #expect(try await opened.store.dataKeys().filter { $0.scope == scope.text }.count == 1)
        let sealed = try keyring.seal([7], at: place, scope: scope)
        let reopened = try await self.keyring(text, opened)
        #expect(try reopened.open(sealed, at: place) == [7])
        try await keyring.destroy(scope: scope)
        #expect(throws: KeyringError.noDataKey) { try keyring.open(sealed, at: place) }
        let again = try await self.keyring(text, opened)
        #expect(throws: KeyringError.noDataKey) { try again.open(sealed, at: place) }
    }

    @Test(arguments: Backend.allCases) func aWrongKeyIsToldFromDamage(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let text = Keyring.MasterKeys.generate()
        _ = try await keyring(text, opened)
        await #expect(throws: KeyringError.wrongMasterKey(id: "k1", hasOtherBytes: true)) { try await keyring(Keyring.MasterKeys.generate(), opened) }
        let other = Keyring.MasterKeys.generate().replacingOccurrences(of: "k1:", with: "k2:")
        await #expect(throws: KeyringError.wrongMasterKey(id: "k1")) { try await keyring(other, opened) }
        _ = try await keyring(other + "," + text, opened)
        try await opened.store.setMeta("key_check", [1, 2])
        await #expect(throws: KeyringError.damaged) { try await keyring(text, opened) }
    }

    @Test(arguments: [
        "", "k1", "k1:", "k1:abc", ":" + String(repeating: "A", count: 43), "k1:" + String(repeating: "A", count: 44),
        "k 1:" + String(repeating: "A", count: 43), "k1:" + String(repeating: "A", count: 42) + "=",
        // Repeated bytes, and text, are no keys (SEC-119).
        "k1:" + String(repeating: "A", count: 43), "k1:" + Base64URL.encode("correct horse battery staple 123".utf8),
    ])
    func masterKeysAreChecked(text: String) { #expect(throws: KeyringError.self) { try Keyring.MasterKeys(parsing: text) } }

    @Test func masterKeysAreListed() throws {
        let key = Keyring.MasterKeys.generate().dropFirst("k1:".count)
        #expect(try Keyring.MasterKeys(parsing: " a:\(key) ,\n b:\(key)\n").keys.map(\.id) == ["a", "b"])
        for text in ["a:\(key)\nb:\(key)\n", "a:\(key)\r\nb:\(key)\r\n", "a:\(key) \t b:\(key)", "\na:\(key)\n\n,\nb:\(key)"] {
            #expect(try Keyring.MasterKeys(parsing: text).ids == ["a", "b"], "\(text.debugDescription)")
        }
        // Between commas a key may be missing.
        for text in ["a:\(key),\n", "a:\(key),,b:\(key)", "a:\(key)\n, \n,b:\(key)"] {
            #expect(throws: KeyringError.badMasterKeys("master key 2 is not id:base64url")) { try Keyring.MasterKeys(parsing: text) }
        }
        #expect(throws: KeyringError.badMasterKeys("master key 3 repeats master key 1")) {
            try Keyring.MasterKeys(parsing: "a:\(key)\nb:\(key)\na:\(key)")
        }
        let other = Keyring.MasterKeys.generate().dropFirst("k1:".count)
        #expect(throws: KeyringError.badMasterKeys("master key 2 has the id of master key 1, and other bytes")) {
            try Keyring.MasterKeys(parsing: "a:\(key)\na:\(other)")
        }
    }

    /// What one node wrapped by a key that another one lacks, or has with other bytes, is told from damage there.
    @Test(arguments: Backend.allCases) func whatAnotherNodeWrappedByAnotherMasterKeyIsNoDamage(_ backend: Backend) async throws {
        let opened = try await backend.open()
        let k1 = Keyring.MasterKeys.generate()
        let k2 = Keyring.MasterKeys.generate().replacingOccurrences(of: "k1:", with: "k2:")
        let wrong = Keyring.MasterKeys.generate().replacingOccurrences(of: "k1:", with: "k2:")
        let first = try await keyring(k1, opened)
        let second = try await keyring(k1, opened)
        let third = try await keyring("\(k1)\n\(wrong)", opened)
        try await first.adopt(.init(parsing: "\(k2)\n\(k1)"))
        _ = try await first.rewrap()
        await #expect(throws: KeyringError.wrongMasterKey(id: "k2")) { try await second.reload() }
        await #expect(throws: KeyringError.wrongMasterKey(id: "k2", hasOtherBytes: true)) { try await third.reload() }
        try await second.adopt(.init(parsing: "\(k1)\n\(k2)"))
        try await second.reload()
        try await opened.tamper("UPDATE data_key SET wrapped = ?", [1, 2, 3])
        await #expect(throws: KeyringError.damaged) { try await second.reload() }
    }

    @Test("GCM specification, case 16; RFC 5869 A.1")
    func vectors() throws {
        func bytes(_ hex: String) -> [UInt8] { stride(from: 0, to: hex.utf8.count, by: 2).compactMap { UInt8(hex.dropFirst($0).prefix(2), radix: 16) } }
        let box = try AES.GCM.seal(
            bytes("d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"),
            using: SymmetricKey(data: bytes("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")),
            nonce: AES.GCM.Nonce(data: bytes("cafebabefacedbaddecaf888")),
            authenticating: bytes("feedfacedeadbeeffeedfacedeadbeefabaddad2"))
        #expect(Array(box.tag) == bytes("76fc6ece0f4e1768cddf8853bb2d551b"))
        let derived = HKDF<SHA256>.deriveKey(
            inputKeyMaterial: SymmetricKey(data: [UInt8](repeating: 0x0b, count: 22)), salt: bytes("000102030405060708090a0b0c"),
            info: bytes("f0f1f2f3f4f5f6f7f8f9"), outputByteCount: 42)
        #expect(derived.withUnsafeBytes(Array.init) == bytes("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
    }

    @Test func sealedValuesAreNowhereInTheFile() async throws {  // SEC-51
        let opened = try await Backend.sqlite.open()
        let keyring = try await keyring(nil, opened)
        let connection = makeConnection("a")
        try await opened.store.insert(connection)
        try await keyring.prepare(scope: connection.uid)
        var grant = makeGrant(connection)
        grant.accessToken = try keyring.seal(Array("MARKER-4711".utf8), at: place, scope: connection.uid)
        _ = try await opened.store.put(grant, expectedGeneration: nil)
        #expect(try opened.bytes().range(of: Data("MARKER-4711".utf8)) == nil)
    }
}
