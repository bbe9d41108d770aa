-- Which text of each procedure is installed, so that a deployment replaces only what changed and a change made by hand is seen.
-- IF NOT EXISTS: refinery writes its history after the DDL has committed; a run killed in between must be able to run the file again.
CREATE TABLE IF NOT EXISTS consumable_routines (
    routine         VARCHAR(64)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL
                    COMMENT 'Name of the procedure; the stem of its file in sql/',
    content_sha256  CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NOT NULL
                    COMMENT 'SHA-256 of the file, lower-case hex',
    server_sha256   CHAR(64)     CHARACTER SET ascii COLLATE ascii_bin NULL
                    COMMENT 'SHA-256 of what the server kept right after installing; NULL when the installing account could not read it',
    release_version VARCHAR(32)  CHARACTER SET ascii COLLATE ascii_bin NOT NULL
                    COMMENT 'Release of the program that installed it, such as 0.1.0',
    installed_at    DATETIME(3)  NOT NULL
                    COMMENT 'When it was installed, UTC',
    installed_by    VARCHAR(128) NOT NULL
                    COMMENT 'Account that installed it, user@host',
    CONSTRAINT pk_routines PRIMARY KEY (routine),
    CONSTRAINT ck_routines_content_sha256 CHECK (REGEXP_LIKE(content_sha256, '^[0-9a-f]{64}$', 'c')),
    CONSTRAINT ck_routines_server_sha256 CHECK (REGEXP_LIKE(server_sha256, '^[0-9a-f]{64}$', 'c'))
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_0900_ai_ci
  COMMENT = 'The registry of deployed procedures, written by consumable migrate alone';
