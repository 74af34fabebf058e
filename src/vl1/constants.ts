/**
 * Timers and limits of VL1. "Protocol" values are what peers rely on; "ours" may be tuned, each
 * with its reason.
 */

// ---- protocol [2 section 19.2] ----
export const PING_CHECK_MS = 5_000;
export const PATH_HEARTBEAT_MS = 14_000;
export const PATH_ALIVE_MS = 19_000;
export const PATH_EXPIRY_MS = 243_000;
export const FULL_HELLO_MS = 60_000;
export const PEER_ACTIVITY_MS = 500_000;
export const TRUST_MS = 600_000;
export const SURFACE_EXPIRY_MS = 600_000;
export const PUSH_RELAYED_MS = 15_000;
export const PUSH_DIRECT_MS = 120_000;
export const PUSH_WINDOW_MS = 30_000;
export const PUSH_WINDOW_COUNT = 8;
export const PUSH_PER_SCOPE = 8;
export const INTRODUCE_MS = 30_000;
/** Ours: an introduction is forgotten after this. */
export const FORGET_INTRODUCTION_MS = 240_000;
export const CONFIRM_MS = 1_000;
export const ECHO_GATE_MS = 166;
export const WHOIS_GATE_MS = 100;
export const WHOIS_RETRY_MS = 500;
export const QUEUE_LIFE_MS = 5_000;
export const IDENTITY_GATE_MS = 2_000;
export const MAX_PATHS_PER_PEER = 64;
export const HOUSEKEEPING_MS = 30_000;
/** A configured address of a peer is tried at most this often [2 section 12.6]. */
export const HINT_MS = 30_000;
/** Networks of local.conf that count for MTU and trusted paths [2 section 20]. */
export const MAX_PHYSICAL_NETS = 32;
/** Low-bandwidth mode: ping checks and direct pushes are that much rarer [2 section 19.2]. */
export const LOW_BANDWIDTH_PING_FACTOR = 5;
export const LOW_BANDWIDTH_PUSH_FACTOR = 16;

// ---- ours ----
/** Incomplete packets are given up after this; peers cannot see it [2 section 4.2, ADVICE]. */
export const REASSEMBLY_LIFE_MS = 5_000;
/** Partly received packets held at once; 7 x 1.4 kB each. */
export const REASSEMBLY_SLOTS = 256;
/**
 * Longest datagrams we send: what fits an Ethernet frame of 1,500 bytes. The reference lets an MTU of
 * up to 10,324 be configured, but cuts what it receives at 1,500 bytes, so that nothing larger ever
 * authenticates [2 section 2].
 */
export const MAX_DATAGRAM_V4 = 1_472;
export const MAX_DATAGRAM_V6 = 1_452;
/** Longest datagram passed on for others. */
export const MAX_RELAYED_LEN = MAX_DATAGRAM_V4;
/** Configured addresses of one peer that are used. */
export const MAX_HINTS = 32;
/** Unknown endpoints of one peer that are answered with a HELLO within some 5 s. */
export const MAX_CONFIRMATIONS = 64;
/** Moons that one HELLO lists, so that it stays one datagram. */
export const MAX_HELLO_MOONS = 64;
/** Packets that wait for an identity, in and out, in all. */
export const MAX_DEFERRED = 128;
export const MAX_TX_QUEUE = 128;
/** An expected reply is remembered this long [2 section 3.1, ADVICE]; answers later than that are stray. */
export const EXPECT_LIFE_MS = 30_000;
export const MAX_EXPECTED = 16_384;
/** Known peers. Full, one without role makes room: the least recently heard of so many, in turn. */
export const MAX_PEERS = 65_536;
export const EVICTION_SAMPLE = 64;
/** A peer whose record did not change is written anew this often: files of 30 days are removed. */
export const STORE_UNCHANGED_MS = 86_400_000;
/** A beacon of old versions is answered at most this often, node-wide [2 section 2]. */
export const BEACON_MS = 2_500;
export const MAX_PATHS = 131_072;
export const MAX_SURFACES = 256;
/** Addresses of ours that a peer is told: it tries at most 8 of each scope and family. */
export const MAX_PUSHED_ADDRESSES = 48;
export const MAX_INTRODUCTIONS = 65_536;
/** Identity checks that wait for a worker, and copies of one HELLO answered after it. */
export const MAX_VALIDATIONS = 256;
/** Checks that a host with one worker has at once: one that runs, one that follows without a pause. */
export const VALIDATIONS_AT_ONCE = 2;
export const MAX_HELLO_COPIES = 8;
/** WHOIS requests of a node in all: datagrams with invented sources must not make it flood its root. */
export const WHOIS_PER_SEC = 200;
/** Of these for what others cause, so that they leave something for our own packets. */
export const WHOIS_FOR_OTHERS_PER_SEC = 100;
/**
 * Peers of earlier runs taken into memory a second because of datagrams that nobody authenticated: each
 * costs a key agreement (about 0.1 ms) and up to eight HELLOs.
 */
export const RECALLS_FOR_OTHERS_PER_SEC = 500;
/** A root spends at most this many key agreements a second on strangers (about 0.1 ms each). */
export const STRANGERS_PER_SEC = 1_000;
/** Upstreams get HELLO every 5 s until they answer, then an ECHO in every heartbeat [2 section 25]. */
export const UPSTREAM_RETRY_MS = 1_000;
/** Idle time after which an upstream gets an ECHO: as often as the reference's WHOIS to its root. */
export const UPSTREAM_HEARTBEAT_MS = 5_000;
/** The node counts as online while an upstream was heard this recently [4 section 7.1]. */
export const ONLINE_MS = 30_000;
/** A direct path is not used while it was silent this long although we were sending [2 section 13.1, ADVICE]. */
export const PATH_SILENT_MS = 8_000;
/** A path in use is tested this long after its last answer, so that three tests fit into the above. */
export const PATH_PROVE_MS = 3_000;
/** How soon an unanswered direct path is tested once it falls silent. */
export const PATH_PROBE_MS = 2_000;
