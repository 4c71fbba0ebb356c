/// Every answer the loader knows, and what it does about it. `docs/answers.md` holds the same table; a test compares the two.
enum AnswerTable {
    /// One of ClickHouse's own errors.
    struct Entry: Sendable {
        let number: Int
        /// As it stands in brackets in the error's text.
        let name: String
        /// To an insert; a question that is refused is `ServerAnswer.reactionToQuestion`.
        let reaction: Reaction
        /// What a person can do.
        let advice: String
        /// Whether a person should know at once, rather than when the lag grows.
        let alarms: Bool

        fileprivate init(_ number: Int, _ name: String, _ reaction: Reaction, _ advice: String, alarm: Bool = false) {
            self.number = number
            self.name = name
            self.reaction = reaction
            self.advice = advice
            alarms = alarm || reaction == .configuration || reaction == .poison
        }
    }

    private static let wait = "nothing; it passes"
    private static let keeper = "look after ClickHouse Keeper or ZooKeeper if it lasts"
    private static let disk = "look at the disks of the ClickHouse server"
    private static let load = "nothing at first; if it lasts, give ClickHouse more memory or less other work"
    private static let network = "look at the network between ClickHouse's servers if it lasts"
    private static let storage = "look at the object storage behind ClickHouse"
    private static let restart = "look at ClickHouse's log; a restart may mend it"
    private static let schema = "compare the table with schemas/ (`spool-loader migrate status`)"
    private static let value = "see the quarantined row; mend the table or the producer"
    private static let sound = "nothing at first; if it lasts, suspect memory or a proxy between, and run `spool-loader verify`"
    private static let account = "mend user and password (loader.user, loader.password_file)"
    private static let migrate = "create it: `spool-loader migrate apply`; or mend loader.database"
    private static let tooNew = "update ClickHouse, or see docs/clickhouse.md for what the loader sends"
    private static let part = "look at ClickHouse's log: a part of a table is damaged"

    /// ClickHouse's errors by number. A code that is not here backs off with an alarm.
    static let entries: [Entry] = [
        Entry(3, "UNEXPECTED_END_OF_FILE", .backOff, "nothing at first; if it lasts, look at the proxy between: it cuts requests"),
        Entry(6, "CANNOT_PARSE_TEXT", .poison, value),
        Entry(7, "INCORRECT_NUMBER_OF_COLUMNS", .refreshSchema, schema),
        Entry(8, "THERE_IS_NO_COLUMN", .refreshSchema, schema),
        Entry(9, "SIZES_OF_COLUMNS_DOESNT_MATCH", .payloadSuspect, sound),
        Entry(10, "NOT_FOUND_COLUMN_IN_BLOCK", .refreshSchema, schema),
        Entry(15, "DUPLICATE_COLUMN", .refreshSchema, schema),
        Entry(16, "NO_SUCH_COLUMN_IN_TABLE", .refreshSchema, schema),
        Entry(19, "SIZE_OF_FIXED_STRING_DOESNT_MATCH", .refreshSchema, schema),
        Entry(20, "NUMBER_OF_COLUMNS_DOESNT_MATCH", .refreshSchema, schema),
        Entry(23, "CANNOT_READ_FROM_ISTREAM", .backOff, wait),
        Entry(24, "CANNOT_WRITE_TO_OSTREAM", .backOff, wait),
        Entry(25, "CANNOT_PARSE_ESCAPE_SEQUENCE", .poison, value),
        Entry(26, "CANNOT_PARSE_QUOTED_STRING", .poison, value),
        Entry(27, "CANNOT_PARSE_INPUT_ASSERTION_FAILED", .poison, value),
        Entry(32, "ATTEMPT_TO_READ_AFTER_EOF", .payloadSuspect, sound),
        Entry(33, "CANNOT_READ_ALL_DATA", .payloadSuspect, sound),
        Entry(36, "BAD_ARGUMENTS", .configuration, "read the text: a setting or the table's definition is refused"),
        Entry(38, "CANNOT_PARSE_DATE", .poison, value),
        Entry(39, "TOO_LARGE_SIZE_COMPRESSED", .payloadSuspect, sound),
        Entry(40, "CHECKSUM_DOESNT_MATCH", .payloadSuspect, sound),
        Entry(41, "CANNOT_PARSE_DATETIME", .poison, value),
        Entry(43, "ILLEGAL_TYPE_OF_ARGUMENT", .refreshSchema, schema),
        Entry(44, "ILLEGAL_COLUMN", .refreshSchema, schema),
        Entry(46, "UNKNOWN_FUNCTION", .configuration, "look at the table's defaults and views: they name a function that is not there"),
        Entry(47, "UNKNOWN_IDENTIFIER", .refreshSchema, schema),
        Entry(48, "NOT_IMPLEMENTED", .configuration, tooNew),
        Entry(49, "LOGICAL_ERROR", .backOff, "look at ClickHouse's log: this is a fault of ClickHouse", alarm: true),
        Entry(50, "UNKNOWN_TYPE", .refreshSchema, schema),
        Entry(53, "TYPE_MISMATCH", .refreshSchema, schema),
        Entry(60, "UNKNOWN_TABLE", .configuration, migrate),
        Entry(62, "SYNTAX_ERROR", .configuration, tooNew),
        Entry(69, "ARGUMENT_OUT_OF_BOUND", .poison, value),
        Entry(70, "CANNOT_CONVERT_TYPE", .refreshSchema, schema),
        Entry(72, "CANNOT_PARSE_NUMBER", .poison, value),
        Entry(73, "UNKNOWN_FORMAT", .configuration, tooNew),
        Entry(74, "CANNOT_READ_FROM_FILE_DESCRIPTOR", .backOff, disk, alarm: true),
        Entry(75, "CANNOT_WRITE_TO_FILE_DESCRIPTOR", .backOff, disk, alarm: true),
        Entry(76, "CANNOT_OPEN_FILE", .backOff, disk, alarm: true),
        Entry(78, "UNKNOWN_TYPE_OF_QUERY", .configuration, tooNew),
        Entry(81, "UNKNOWN_DATABASE", .configuration, "create the database, or mend loader.database"),
        Entry(89, "UNKNOWN_COMPRESSION_METHOD", .configuration, "this ClickHouse takes no LZ4 frames: set loader.wire to \"plain\""),
        Entry(95, "CANNOT_READ_FROM_SOCKET", .backOff, network),
        Entry(96, "CANNOT_WRITE_TO_SOCKET", .backOff, network),
        Entry(107, "FILE_DOESNT_EXIST", .backOff, part, alarm: true),
        Entry(108, "NO_DATA_TO_INSERT", .payloadSuspect, sound),
        Entry(115, "UNKNOWN_SETTING", .configuration, tooNew),
        Entry(117, "INCORRECT_DATA", .poison, value),
        Entry(120, "CANNOT_INSERT_VALUE_OF_DIFFERENT_SIZE_INTO_TUPLE", .refreshSchema, schema),
        Entry(122, "INCOMPATIBLE_COLUMNS", .refreshSchema, schema),
        Entry(128, "TOO_LARGE_ARRAY_SIZE", .payloadSuspect, sound),
        Entry(130, "CANNOT_READ_ARRAY_FROM_TEXT", .poison, value),
        Entry(131, "TOO_LARGE_STRING_SIZE", .refreshSchema, schema),
        Entry(153, "ILLEGAL_DIVISION", .configuration, "mend the materialized view that divides by zero"),
        Entry(158, "TOO_MANY_ROWS", .configuration, "raise the user's limit of rows"),
        Entry(159, "TIMEOUT_EXCEEDED", .backOff, load),
        Entry(160, "TOO_SLOW", .backOff, load),
        Entry(161, "TOO_MANY_COLUMNS", .configuration, "raise max_columns_to_read of the user's profile"),
        Entry(164, "READONLY", .configuration, "give the user write access: its profile says readonly"),
        Entry(172, "CANNOT_CREATE_DIRECTORY", .backOff, disk, alarm: true),
        Entry(173, "CANNOT_ALLOCATE_MEMORY", .backOff, load),
        Entry(180, "THERE_IS_NO_PROFILE", .configuration, "mend the user's profile at ClickHouse"),
        Entry(192, "UNKNOWN_USER", .configuration, account),
        Entry(193, "WRONG_PASSWORD", .configuration, account),
        Entry(194, "REQUIRED_PASSWORD", .configuration, account),
        Entry(195, "IP_ADDRESS_NOT_ALLOWED", .configuration, "allow this host to the user at ClickHouse"),
        Entry(198, "DNS_ERROR", .backOff, network, alarm: true),
        Entry(199, "UNKNOWN_QUOTA", .configuration, "mend the user's quota at ClickHouse"),
        Entry(201, "QUOTA_EXCEEDED", .backOff, "raise the user's quota; else it goes on when the quota's interval is over", alarm: true),
        Entry(202, "TOO_MANY_SIMULTANEOUS_QUERIES", .backOff, "nothing at first; if it lasts, raise max_concurrent_queries"),
        Entry(203, "NO_FREE_CONNECTION", .backOff, network),
        Entry(204, "CANNOT_FSYNC", .backOff, disk, alarm: true),
        Entry(209, "SOCKET_TIMEOUT", .backOff, network),
        Entry(210, "NETWORK_ERROR", .backOff, network),
        Entry(216, "QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING", .backOff, wait),
        Entry(217, "CLIENT_HAS_CONNECTED_TO_WRONG_PORT", .configuration, "set loader.url to the HTTP port, usually 8123, or 8443 with TLS"),
        Entry(218, "TABLE_IS_DROPPED", .configuration, migrate),
        Entry(225, "NO_ZOOKEEPER", .backOff, keeper, alarm: true),
        Entry(226, "NO_FILE_IN_DATA_PART", .backOff, part, alarm: true),
        Entry(228, "BAD_SIZE_OF_FILE_IN_DATA_PART", .backOff, part, alarm: true),
        Entry(229, "QUERY_IS_TOO_LARGE", .configuration, "raise max_query_size of the user's profile"),
        Entry(230, "NOT_FOUND_EXPECTED_DATA_PART", .backOff, part, alarm: true),
        Entry(235, "DUPLICATE_DATA_PART", .backOff, wait),
        Entry(236, "ABORTED", .backOff, "nothing; ClickHouse is stopping"),
        Entry(241, "MEMORY_LIMIT_EXCEEDED", .backOff, load),
        Entry(242, "TABLE_IS_READ_ONLY", .backOff, keeper, alarm: true),
        Entry(243, "NOT_ENOUGH_SPACE", .backOff, "make room on the disks of the ClickHouse server", alarm: true),
        Entry(244, "UNEXPECTED_ZOOKEEPER_ERROR", .backOff, keeper, alarm: true),
        Entry(246, "CORRUPTED_DATA", .payloadSuspect, sound),
        Entry(248, "INVALID_PARTITION_VALUE", .configuration, schema),
        Entry(252, "TOO_MANY_PARTS", .tooManyParts, "nothing at first; if it lasts, see why merges fall behind"),
        Entry(254, "NO_ACTIVE_REPLICAS", .backOff, network),
        Entry(265, "NO_AVAILABLE_REPLICA", .backOff, network),
        Entry(270, "CANNOT_COMPRESS", .backOff, restart, alarm: true),
        Entry(271, "CANNOT_DECOMPRESS", .payloadSuspect, sound),
        Entry(279, "ALL_CONNECTION_TRIES_FAILED", .backOff, network),
        Entry(285, "TOO_FEW_LIVE_REPLICAS", .backOff, "bring the replicas back that insert_quorum asks for", alarm: true),
        Entry(286, "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE", .backOff, "bring the replicas back that insert_quorum asks for", alarm: true),
        Entry(289, "REPLICA_IS_NOT_IN_QUORUM", .backOff, network),
        Entry(290, "LIMIT_EXCEEDED", .configuration, "read the text: it names the limit of the user or server"),
        Entry(291, "DATABASE_ACCESS_DENIED", .configuration, "grant the user INSERT and SELECT on the database"),
        Entry(294, "CANNOT_WRITE_TO_FILE", .backOff, disk, alarm: true),
        Entry(297, "SHARD_HAS_NO_CONNECTIONS", .backOff, network),
        Entry(306, "TOO_DEEP_RECURSION", .configuration, "look at the views below the table: they may feed each other"),
        Entry(307, "TOO_MANY_BYTES", .configuration, "raise the user's limit of bytes"),
        Entry(319, "UNKNOWN_STATUS_OF_INSERT", .backOff, "nothing; the loader asks what arrived"),
        Entry(321, "VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE", .poison, value),
        Entry(341, "UNFINISHED", .backOff, wait),
        Entry(344, "SUPPORT_IS_DISABLED", .configuration, tooNew),
        Entry(349, "CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN", .refreshSchema, schema),
        Entry(354, "ZLIB_INFLATE_FAILED", .payloadSuspect, sound),
        Entry(364, "RECEIVED_ERROR_TOO_MANY_REQUESTS", .backOff, load),
        Entry(368, "BAD_CAST", .refreshSchema, schema),
        Entry(369, "ALL_REPLICAS_ARE_STALE", .backOff, network),
        Entry(370, "DATA_TYPE_CANNOT_BE_USED_IN_TABLES", .configuration, schema),
        Entry(372, "SESSION_NOT_FOUND", .backOff, wait),
        Entry(373, "SESSION_IS_LOCKED", .backOff, wait),
        Entry(376, "CANNOT_PARSE_UUID", .poison, value),
        Entry(381, "HTTP_LENGTH_REQUIRED", .configuration, "mend the proxy between: it drops Content-Length"),
        Entry(384, "PART_IS_TEMPORARILY_LOCKED", .backOff, wait),
        Entry(386, "NO_COMMON_TYPE", .refreshSchema, schema),
        Entry(389, "INSERT_WAS_DEDUPLICATED", .backOff, "nothing; the loader asks what arrived"),
        Entry(392, "QUERY_IS_PROHIBITED", .configuration, "allow the user to insert and to select"),
        Entry(394, "QUERY_WAS_CANCELLED", .retryNow, "nothing; somebody killed the insert"),
        Entry(395, "FUNCTION_THROW_IF_VALUE_IS_NON_ZERO", .configuration, "mend the materialized view whose throwIf refuses the rows"),
        Entry(396, "TOO_MANY_ROWS_OR_BYTES", .configuration, "raise the user's limits of rows and bytes"),
        Entry(407, "DECIMAL_OVERFLOW", .poison, value),
        Entry(410, "EXTERNAL_SERVER_IS_NOT_RESPONDING", .backOff, network),
        Entry(415, "ALL_REPLICAS_LOST", .backOff, keeper, alarm: true),
        Entry(416, "REPLICA_STATUS_CHANGED", .backOff, keeper),
        Entry(425, "SYSTEM_ERROR", .backOff, restart, alarm: true),
        Entry(439, "CANNOT_SCHEDULE_TASK", .backOff, load),
        Entry(441, "CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING", .poison, value),
        Entry(
            452, "SETTING_CONSTRAINT_VIOLATION", .configuration, "let the user's profile allow the settings that docs/clickhouse.md lists"),
        Entry(467, "CANNOT_PARSE_BOOL", .poison, value),
        Entry(469, "VIOLATED_CONSTRAINT", .poison, value),
        Entry(471, "INVALID_SETTING_VALUE", .configuration, tooNew),
        Entry(472, "READONLY_SETTING", .configuration, "let the user's profile allow the settings that docs/clickhouse.md lists"),
        Entry(473, "DEADLOCK_AVOIDED", .backOff, wait),
        Entry(495, "ACCESS_STORAGE_READONLY", .configuration, account),
        Entry(496, "QUOTA_REQUIRES_CLIENT_KEY", .configuration, "give the user a quota without a client key"),
        Entry(
            497, "ACCESS_DENIED", .configuration,
            "grant the user INSERT and SELECT on the tables, and SELECT on system.tables and system.columns"),
        Entry(499, "S3_ERROR", .backOff, storage, alarm: true),
        Entry(500, "AZURE_BLOB_STORAGE_ERROR", .backOff, storage, alarm: true),
        Entry(511, "UNKNOWN_ROLE", .configuration, "mend the user's roles at ClickHouse"),
        Entry(512, "SET_NON_GRANTED_ROLE", .configuration, "mend the user's roles at ClickHouse"),
        Entry(516, "AUTHENTICATION_FAILED", .configuration, account),
        Entry(517, "CANNOT_ASSIGN_ALTER", .backOff, wait),
        Entry(519, "NO_REMOTE_SHARD_AVAILABLE", .backOff, network),
        Entry(561, "ZSTD_DECODER_FAILED", .payloadSuspect, sound),
        Entry(565, "TOO_MANY_PARTITIONS", .configuration, "raise max_partitions_to_read of the user's profile"),
        Entry(568, "RAFT_ERROR", .backOff, keeper),
        Entry(571, "DATABASE_REPLICATION_FAILED", .backOff, keeper, alarm: true),
        Entry(
            574, "DISTRIBUTED_TOO_MANY_PENDING_BYTES", .backOff, "see why the shards behind the Distributed table take nothing", alarm: true
        ),
        Entry(586, "CANNOT_CREATE_FILE", .backOff, disk, alarm: true),
        Entry(618, "LZ4_DECODER_FAILED", .payloadSuspect, sound),
        Entry(620, "QUERY_NOT_ALLOWED", .configuration, "allow the user to insert and to select"),
        Entry(641, "CANNOT_APPEND_TO_FILE", .backOff, disk, alarm: true),
        Entry(650, "SERIALIZATION_ERROR", .backOff, wait),
        Entry(662, "FS_METADATA_ERROR", .backOff, disk, alarm: true),
        Entry(668, "INVALID_STATE", .backOff, restart, alarm: true),
        Entry(675, "CANNOT_PARSE_IPV4", .poison, value),
        Entry(676, "CANNOT_PARSE_IPV6", .poison, value),
        Entry(677, "THREAD_WAS_CANCELED", .backOff, load),
        Entry(691, "UNKNOWN_ELEMENT_OF_ENUM", .poison, value),
        Entry(692, "TOO_MANY_MUTATIONS", .backOff, "see which mutations are stuck (system.mutations)", alarm: true),
        Entry(693, "AWS_ERROR", .backOff, storage, alarm: true),
        Entry(695, "ASYNC_LOAD_FAILED", .backOff, restart, alarm: true),
        Entry(696, "ASYNC_LOAD_CANCELED", .backOff, "nothing; ClickHouse is starting or stopping"),
        Entry(700, "USER_SESSION_LIMIT_EXCEEDED", .backOff, "raise the user's limit of sessions", alarm: true),
        Entry(710, "FAULT_INJECTED", .backOff, "somebody is testing ClickHouse"),
        Entry(720, "USER_EXPIRED", .configuration, "extend VALID UNTIL of the user at ClickHouse"),
        Entry(722, "ASYNC_LOAD_WAIT_FAILED", .backOff, restart, alarm: true),
        Entry(733, "TABLE_IS_BEING_RESTARTED", .backOff, wait),
        Entry(735, "QUERY_WAS_CANCELLED_BY_CLIENT", .retryNow, "nothing; the connection broke under the request"),
        Entry(738, "PART_IS_LOCKED", .backOff, wait),
        Entry(740, "POTENTIALLY_BROKEN_DATA_PART", .backOff, part, alarm: true),
        Entry(741, "TABLE_UUID_MISMATCH", .refreshSchema, "see who has made the table anew"),
        Entry(745, "SERVER_OVERLOADED", .backOff, load),
        Entry(749, "TCP_CONNECTION_LIMIT_REACHED", .backOff, load),
        Entry(762, "HTTP_CONNECTION_LIMIT_REACHED", .backOff, load),
        Entry(763, "SESSION_REFUSED", .backOff, load),
        Entry(
            764, "DEDUPLICATION_IS_NOT_POSSIBLE", .configuration,
            "mend the table's or its views' settings so that inserts can be deduplicated"),
        Entry(774, "TABLE_IS_PERMANENTLY_READ_ONLY", .configuration, "load into a table that can be written"),
        Entry(776, "RESOURCE_LIMIT_EXCEEDED", .backOff, load),
        Entry(777, "MEMORY_RESERVATION_KILLED", .backOff, load),
        Entry(778, "MEMORY_RESERVATION_FAILED", .backOff, load),
        Entry(999, "KEEPER_EXCEPTION", .backOff, keeper, alarm: true),
        Entry(1_000, "POCO_EXCEPTION", .backOff, restart, alarm: true),
        Entry(1_001, "STD_EXCEPTION", .backOff, restart, alarm: true),
        Entry(1_002, "UNKNOWN_EXCEPTION", .backOff, restart, alarm: true),
        Entry(1_016, "TABLE_SIZE_LIMIT_EXCEEDED", .configuration, "raise the table's size limit, or shorten its TTL"),
        Entry(1_017, "ASYNC_INSERT_FLUSH_TIMEOUT", .backOff, load),
        Entry(1_019, "QUERY_SLOT_ACQUISITION_TIMEOUT", .backOff, load),
        Entry(1_020, "MEMORY_RESERVATION_ACQUISITION_TIMEOUT", .backOff, load),
    ]

    /// Numbers that current servers have given up, and that old ones send.
    static let retiredNumbers: Set<Int> = [368]

    /// An error that is not in the table.
    static let unknown = Entry(0, "", .backOff, "look the error up; the loader goes on trying", alarm: true)
    /// 252 has two meanings, told apart by its text.
    static let tooManyPartitions = Entry(
        252, "TOO_MANY_PARTS", .splitPartitions, "nothing; if it lasts, compare the table's PARTITION BY with schemas/")
    /// 117 is also what ClickHouse says of a column that the table does not have.
    static let unknownColumn = Entry(117, "INCORRECT_DATA", .refreshSchema, schema)

    private static let byNumber = Dictionary(uniqueKeysWithValues: entries.map { ($0.number, $0) })
    private static let byName = Dictionary(uniqueKeysWithValues: entries.map { ($0.name, $0) })

    /// What an error means.
    ///
    /// The name decides where text and number contradict each other, since codes have been renumbered; servers before 2021 send no
    /// name. A name that is not in the table makes the error an unknown one, whatever its number: a wrong guess could quarantine rows.
    static func entry(number: Int?, name: String?, text: String) -> Entry {
        let found = name.map { byName[$0] ?? unknown } ?? number.flatMap { byNumber[$0] } ?? unknown
        switch found.name {
        case "TOO_MANY_PARTS", "TOO_MANY_PARTITIONS":
            return text.contains("partitions for single INSERT block") ? tooManyPartitions : found
        case "INCORRECT_DATA":
            return text.contains("Unknown column") || text.contains("Unknown field") ? unknownColumn : found
        default: return found
        }
    }
}
