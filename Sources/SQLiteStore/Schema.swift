import GRDB

/// The tables, by named migrations that are only ever added.
enum Schema {
    static var migrator: DatabaseMigrator {
        var migrator = DatabaseMigrator()
        migrator.registerMigration("v1-main") { database in
            try database.execute(
                sql: """
                    CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
                    CREATE TABLE data_key (id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL UNIQUE, master_key_id TEXT NOT NULL, wrapped BLOB NOT NULL);
                    CREATE TABLE connection (
                        uid TEXT PRIMARY KEY, id TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, client_secret BLOB, password BLOB,
                        health TEXT NOT NULL, health_reason TEXT, health_since INTEGER NOT NULL,
                        created_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, revision INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE TABLE "grant" (
                        uid TEXT PRIMARY KEY, connection_uid TEXT NOT NULL REFERENCES connection(uid) ON DELETE CASCADE,
                        subject TEXT NOT NULL, slot TEXT NOT NULL, access_token BLOB, refresh_token BLOB, token_type TEXT NOT NULL,
                        scope TEXT, requested_scope TEXT NOT NULL, captured TEXT NOT NULL, account TEXT, expires_at INTEGER, refresh_expires_at INTEGER,
                        state TEXT NOT NULL, state_reason TEXT, state_since INTEGER NOT NULL, token_generation INTEGER NOT NULL,
                        next_refresh_at INTEGER, created_at INTEGER NOT NULL, refreshed_at INTEGER, last_used_at INTEGER,
                        UNIQUE (connection_uid, subject, slot));
                    CREATE INDEX grant_subject ON "grant" (subject);
                    CREATE INDEX grant_state ON "grant" (state, expires_at);
                    CREATE INDEX grant_next_refresh ON "grant" (next_refresh_at) WHERE state = 'active' AND next_refresh_at IS NOT NULL;
                    CREATE TABLE refresh_intent (
                        grant_uid TEXT PRIMARY KEY REFERENCES "grant"(uid) ON DELETE CASCADE, generation INTEGER NOT NULL, sent_at INTEGER NOT NULL,
                        attempts INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE TABLE orphan_token (
                        uid TEXT PRIMARY KEY, connection_uid TEXT NOT NULL REFERENCES connection(uid) ON DELETE CASCADE, access_token BLOB, refresh_token BLOB,
                        created_at INTEGER NOT NULL, next_try_at INTEGER NOT NULL, tries INTEGER NOT NULL);
                    CREATE INDEX orphan_due ON orphan_token (next_try_at);
                    CREATE TABLE connect_session (
                        id TEXT PRIMARY KEY, ticket_hash BLOB NOT NULL UNIQUE, connection_uid TEXT NOT NULL REFERENCES connection(uid) ON DELETE CASCADE,
                        subject TEXT NOT NULL, options TEXT NOT NULL, state TEXT NOT NULL, error TEXT, error_detail TEXT, grant_uid TEXT,
                        app_name TEXT NOT NULL, key_id TEXT NOT NULL, created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL);
                    CREATE INDEX session_expiry ON connect_session (expires_at);
                    CREATE TABLE authorization_attempt (
                        state_hash BLOB PRIMARY KEY, session_id TEXT NOT NULL REFERENCES connect_session(id) ON DELETE CASCADE,
                        connection_uid TEXT NOT NULL, connection_revision INTEGER NOT NULL, binding_hash BLOB NOT NULL, pending BLOB NOT NULL,
                        created_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, consumed_at INTEGER);
                    CREATE INDEX attempt_expiry ON authorization_attempt (expires_at);
                    CREATE TABLE completion (
                        session_id TEXT PRIMARY KEY REFERENCES connect_session(id) ON DELETE CASCADE, connection_revision INTEGER NOT NULL,
                        code BLOB NOT NULL, captured TEXT NOT NULL, expires_at INTEGER NOT NULL);
                    CREATE TABLE api_key (
                        id TEXT PRIMARY KEY, name TEXT NOT NULL, hash BLOB NOT NULL UNIQUE, role TEXT NOT NULL, connections TEXT, subjects TEXT,
                        requests_per_minute INTEGER, created_at INTEGER NOT NULL, expires_at INTEGER, last_used_at INTEGER);
                    CREATE TABLE activity (
                        uid TEXT PRIMARY KEY, at INTEGER NOT NULL, action TEXT NOT NULL, connection_uid TEXT, connection TEXT, subject TEXT, key TEXT,
                        result TEXT NOT NULL, count INTEGER NOT NULL, detail TEXT);
                    CREATE INDEX activity_connection ON activity (connection, uid);
                    CREATE INDEX activity_subject ON activity (subject, uid);
                    """)
        }
        migrator.registerMigration("v2-refresh") { database in
            try database.execute(
                sql: """
                    ALTER TABLE connection ADD COLUMN keep_alive INTEGER NOT NULL DEFAULT 0;
                    ALTER TABLE connection ADD COLUMN secret_warned_for INTEGER;
                    UPDATE connection SET keep_alive = coalesce(json_extract(settings, '$.keepAlive'), 0);

                    ALTER TABLE "grant" ADD COLUMN due_at INTEGER;
                    ALTER TABLE "grant" ADD COLUMN dies_at INTEGER;
                    ALTER TABLE "grant" ADD COLUMN warn_at INTEGER;
                    ALTER TABLE "grant" ADD COLUMN rotates INTEGER;
                    UPDATE "grant" SET due_at = next_refresh_at, dies_at = refresh_expires_at WHERE state = 'active';
                    DROP INDEX grant_next_refresh;
                    CREATE INDEX grant_due ON "grant" (connection_uid, due_at) WHERE due_at IS NOT NULL;
                    CREATE INDEX grant_dies ON "grant" (dies_at) WHERE dies_at IS NOT NULL;
                    CREATE INDEX grant_warn ON "grant" (warn_at) WHERE warn_at IS NOT NULL;

                    ALTER TABLE orphan_token ADD COLUMN grant_uid TEXT;
                    ALTER TABLE orphan_token ADD COLUMN generation INTEGER;
                    ALTER TABLE orphan_token ADD COLUMN revocation_id TEXT;
                    CREATE INDEX orphan_revocation ON orphan_token (revocation_id) WHERE revocation_id IS NOT NULL;
                    CREATE INDEX orphan_connection ON orphan_token (connection_uid, next_try_at, uid);
                    CREATE TABLE revocation (
                        id TEXT PRIMARY KEY, filter TEXT NOT NULL, connection TEXT, requested_by TEXT NOT NULL, created_at INTEGER NOT NULL,
                        stopped_at INTEGER, ended_at INTEGER, grants INTEGER NOT NULL, revoked INTEGER NOT NULL, unsupported INTEGER NOT NULL,
                        failed INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE INDEX revocation_open ON revocation (id) WHERE ended_at IS NULL;
                    CREATE TABLE revocation_failure (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT, revocation_id TEXT NOT NULL REFERENCES revocation(id) ON DELETE CASCADE,
                        connection TEXT NOT NULL, subject TEXT, reason TEXT NOT NULL);
                    CREATE INDEX revocation_failures ON revocation_failure (revocation_id, sequence);

                    CREATE TABLE data_key_2 (
                        id INTEGER PRIMARY KEY AUTOINCREMENT, scope TEXT NOT NULL, master_key_id TEXT NOT NULL, wrapped BLOB NOT NULL, retired_at INTEGER);
                    INSERT INTO data_key_2 SELECT id, scope, master_key_id, wrapped, NULL FROM data_key;
                    DROP TABLE data_key;
                    ALTER TABLE data_key_2 RENAME TO data_key;
                    CREATE UNIQUE INDEX data_key_scope ON data_key (scope) WHERE retired_at IS NULL;

                    ALTER TABLE activity ADD COLUMN request_id TEXT;
                    ALTER TABLE activity ADD COLUMN node TEXT;
                    ALTER TABLE activity ADD COLUMN sequence INTEGER;
                    ALTER TABLE activity ADD COLUMN mac BLOB;
                    CREATE UNIQUE INDEX activity_chain ON activity (node, sequence) WHERE sequence IS NOT NULL;
                    CREATE INDEX activity_key ON activity (key, action) WHERE key IS NOT NULL;
                    CREATE TABLE activity_anchor (
                        node TEXT NOT NULL, sequence INTEGER NOT NULL, mac BLOB NOT NULL, at INTEGER NOT NULL, signature BLOB NOT NULL,
                        PRIMARY KEY (node, sequence)) WITHOUT ROWID;

                    CREATE TABLE webhook (
                        id TEXT PRIMARY KEY, url TEXT NOT NULL, kinds TEXT NOT NULL, secret BLOB NOT NULL, created_at INTEGER NOT NULL,
                        disabled_at INTEGER) WITHOUT ROWID;
                    CREATE TABLE event (
                        id TEXT PRIMARY KEY, kind TEXT NOT NULL, at INTEGER NOT NULL, connection_uid TEXT NOT NULL, order_key TEXT NOT NULL,
                        subject TEXT, data TEXT NOT NULL) WITHOUT ROWID;
                    CREATE INDEX event_at ON event (at);
                    CREATE TABLE delivery (
                        sequence INTEGER PRIMARY KEY AUTOINCREMENT, webhook_id TEXT NOT NULL REFERENCES webhook(id) ON DELETE CASCADE,
                        event_id TEXT NOT NULL REFERENCES event(id) ON DELETE CASCADE, order_key TEXT NOT NULL, state TEXT NOT NULL,
                        tries INTEGER NOT NULL, begun_at INTEGER NOT NULL, next_try_at INTEGER, last_status INTEGER, last_error TEXT,
                        ended_at INTEGER);
                    CREATE INDEX delivery_due ON delivery (webhook_id, next_try_at) WHERE next_try_at IS NOT NULL;
                    CREATE INDEX delivery_ended ON delivery (ended_at) WHERE ended_at IS NOT NULL;
                    CREATE INDEX delivery_order ON delivery (webhook_id, order_key, sequence) WHERE state = 'pending';
                    CREATE INDEX delivery_webhook ON delivery (webhook_id, sequence);
                    CREATE INDEX delivery_event ON delivery (event_id);
                    """)
        }
        migrator.registerMigration("v3-calls") { database in
            try database.execute(sql: "CREATE INDEX activity_action ON activity (action, uid) WHERE \(isRareAction)")
        }
        migrator.registerMigration("v4-console") { database in
            // A session and a link end with their key, also when it is replaced, in the same transaction.
            try database.execute(
                sql: """
                    CREATE TABLE console_session (
                        id TEXT PRIMARY KEY, token_hash BLOB NOT NULL UNIQUE, key_id TEXT NOT NULL REFERENCES api_key(id) ON DELETE CASCADE,
                        created_at INTEGER NOT NULL, last_seen_at INTEGER NOT NULL, expires_at INTEGER NOT NULL, user_agent TEXT NOT NULL,
                        address TEXT NOT NULL) WITHOUT ROWID;
                    CREATE INDEX console_session_key ON console_session (key_id);
                    CREATE INDEX console_session_expiry ON console_session (expires_at);
                    CREATE TABLE sign_in_link (
                        code_hash BLOB PRIMARY KEY, key_id TEXT NOT NULL REFERENCES api_key(id) ON DELETE CASCADE,
                        expires_at INTEGER NOT NULL) WITHOUT ROWID;
                    CREATE INDEX sign_in_link_key ON sign_in_link (key_id);
                    CREATE INDEX sign_in_link_expiry ON sign_in_link (expires_at);
                    CREATE TABLE trouble (
                        connection_uid TEXT NOT NULL REFERENCES connection(uid) ON DELETE CASCADE, stage TEXT NOT NULL, at INTEGER NOT NULL,
                        record TEXT NOT NULL, PRIMARY KEY (connection_uid, stage)) WITHOUT ROWID;
                    """)
        }
        migrator.registerMigration("v4-activity") { database in
            // Of a key, the newest first; what failed is rare.
            try database.execute(
                sql: """
                    DROP INDEX activity_key;
                    CREATE INDEX activity_key ON activity (key, uid) WHERE key IS NOT NULL;
                    CREATE INDEX activity_failed ON activity (result, uid) WHERE \(isFailure);
                    """)
        }
        migrator.registerMigration("v4-overview") { database in
            // Grants of many connections are counted without reading one.
            try database.execute(
                sql: #"CREATE INDEX grant_overview ON "grant" (connection_uid, state, expires_at, next_refresh_at, subject)"#)
        }
        return migrator
    }

    /// What the index of failures holds.
    static let isFailure = "result <> 'ok'"

    /// What the index of actions holds: calls, of which there are too many, are found without it. It stays as it is: SQLite takes the
    /// index for a query only that says the same.
    static let isRareAction = "action NOT IN ('token.read', 'api.called', 'api.refused')"
}
