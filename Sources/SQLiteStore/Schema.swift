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
        return migrator
    }
}
