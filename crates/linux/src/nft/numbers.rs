//! Numbers of nf_tables' netlink protocol (`linux/netfilter/nf_tables.h`, `nfnetlink.h`), by their
//! names there.

pub(super) use crate::nfnetlink::netlink;

/// `NFNL_SUBSYS_NFTABLES`, the upper byte of a message's type.
pub(super) const SUBSYSTEM: u16 = 10;
/// `NFNLGRP_NFTABLES`.
pub(super) const GROUP: u32 = 7;
pub(super) const BATCH_BEGIN: u16 = 0x10;
pub(super) const BATCH_END: u16 = 0x11;
/// `NFNL_BATCH_GENID`.
pub(super) const BATCH_GENERATION: u16 = 1;

/// `NFT_MSG_*`.
pub(super) mod message {
    pub(crate) const NEWTABLE: u16 = 0;
    pub(crate) const GETTABLE: u16 = 1;
    pub(crate) const DELTABLE: u16 = 2;
    pub(crate) const NEWCHAIN: u16 = 3;
    pub(crate) const GETCHAIN: u16 = 4;
    pub(crate) const DELCHAIN: u16 = 5;
    pub(crate) const NEWRULE: u16 = 6;
    pub(crate) const GETRULE: u16 = 7;
    pub(crate) const DELRULE: u16 = 8;
    pub(crate) const NEWSET: u16 = 9;
    pub(crate) const GETSET: u16 = 10;
    pub(crate) const DELSET: u16 = 11;
    pub(crate) const NEWSETELEM: u16 = 12;
    pub(crate) const GETSETELEM: u16 = 13;
    pub(crate) const DELSETELEM: u16 = 14;
    pub(crate) const NEWGEN: u16 = 15;
    pub(crate) const GETGEN: u16 = 16;
    pub(crate) const GETOBJ: u16 = 19;
    pub(crate) const GETFLOWTABLE: u16 = 23;
}

/// `NFTA_*` of tables, chains, rules, sets and elements; the table's name is 1 in all of them.
pub(super) mod attribute {
    pub(crate) const TABLE: u16 = 1;
    pub(crate) const TABLE_FLAGS: u16 = 2;
    pub(crate) const CHAIN_NAME: u16 = 3;
    pub(crate) const CHAIN_HOOK: u16 = 4;
    pub(crate) const CHAIN_POLICY: u16 = 5;
    pub(crate) const CHAIN_TYPE: u16 = 7;
    pub(crate) const HOOK_NUMBER: u16 = 1;
    pub(crate) const HOOK_PRIORITY: u16 = 2;
    pub(crate) const HOOK_DEVICE: u16 = 3;
    pub(crate) const RULE_CHAIN: u16 = 2;
    pub(crate) const RULE_HANDLE: u16 = 3;
    pub(crate) const RULE_EXPRESSIONS: u16 = 4;
    pub(crate) const RULE_POSITION: u16 = 6;
    pub(crate) const RULE_USERDATA: u16 = 7;
    pub(crate) const SET_NAME: u16 = 2;
    pub(crate) const SET_FLAGS: u16 = 3;
    pub(crate) const SET_KEY_TYPE: u16 = 4;
    pub(crate) const SET_KEY_LENGTH: u16 = 5;
    pub(crate) const SET_DATA_TYPE: u16 = 6;
    pub(crate) const SET_DATA_LENGTH: u16 = 7;
    pub(crate) const SET_ID: u16 = 10;
    pub(crate) const SET_USERDATA: u16 = 13;
    pub(crate) const ELEMENTS_SET: u16 = 2;
    pub(crate) const ELEMENTS: u16 = 3;
    pub(crate) const ELEMENT_KEY: u16 = 1;
    pub(crate) const ELEMENT_DATA: u16 = 2;
    pub(crate) const ELEMENT_FLAGS: u16 = 3;
    pub(crate) const ELEMENT_USERDATA: u16 = 6;
    pub(crate) const LIST_ITEM: u16 = 1;
    pub(crate) const DATA_VALUE: u16 = 1;
    pub(crate) const DATA_VERDICT: u16 = 2;
    pub(crate) const VERDICT_CODE: u16 = 1;
    pub(crate) const VERDICT_CHAIN: u16 = 2;
    pub(crate) const EXPRESSION_NAME: u16 = 1;
    pub(crate) const EXPRESSION_DATA: u16 = 2;
    pub(crate) const OBJECT_NAME: u16 = 2;
    pub(crate) const OBJECT_TYPE: u16 = 3;
    pub(crate) const FLOWTABLE_NAME: u16 = 2;
    pub(crate) const COUNTER_PACKETS: u16 = 2;
    pub(crate) const GENERATION_ID: u16 = 1;
    pub(crate) const GENERATION_PROCESS: u16 = 3;
}

pub(super) const SET_INTERVAL: u32 = 0x4;
pub(super) const SET_MAP: u32 = 0x8;
pub(super) const ELEMENT_INTERVAL_END: u32 = 0x1;
/// nft's own type numbers.
pub(super) const TYPE_IPV4: u32 = 7;
pub(super) const TYPE_IPV6: u32 = 8;
pub(super) const TYPE_PROTOCOL: u32 = 12;
pub(super) const TYPE_PORT: u32 = 13;
pub(super) const TYPE_INTERFACE: u32 = 41;
/// By how many bits nft shifts the type before another one in a concatenation.
pub(super) const TYPE_BITS: u32 = 6;
/// `NFT_DATA_VERDICT`, the type of what verdict maps hold.
pub(super) const TYPE_VERDICT: u32 = 0xffff_ff00;

/// `NFT_REG_1`: every expression of ours loads into it, but the further parts of a key.
pub(super) const REGISTER: u32 = 1;
/// `NFT_REG32_01` and `NFT_REG32_02`: four and eight bytes after it.
pub(super) const REGISTERS_AFTER_IPV4: (u32, u32) = (9, 10);
/// `NFT_REG_2` and `NFT_REG32_05`: 16 and 20 bytes after it.
pub(super) const REGISTERS_AFTER_IPV6: (u32, u32) = (2, 13);
/// `NFT_REG_VERDICT`.
pub(super) const REGISTER_VERDICT: u32 = 0;
pub(super) const PAYLOAD_NETWORK: u32 = 1;
pub(super) const PAYLOAD_TRANSPORT: u32 = 2;
pub(super) const META_MARK: u32 = 3;
pub(super) const META_IIFNAME: u32 = 6;
pub(super) const META_OIFNAME: u32 = 7;
pub(super) const META_L4PROTO: u32 = 16;
pub(super) const META_PROTOCOL: u32 = 1;
pub(super) const META_PACKET_TYPE: u32 = 19;
pub(super) const COMPARE_EQUAL: u32 = 0;
pub(super) const COMPARE_NOT_EQUAL: u32 = 1;
pub(super) const COMPARE_LESS: u32 = 2;
pub(super) const COMPARE_LESS_EQUAL: u32 = 3;
pub(super) const COMPARE_GREATER: u32 = 4;
pub(super) const COMPARE_GREATER_EQUAL: u32 = 5;
/// `NFT_RANGE_NEQ`.
pub(super) const RANGE_NOT: u32 = 1;
/// `NFT_CT_STATE` and `NFT_CT_STATUS`.
pub(super) const CONNECTION_STATE: u32 = 0;
pub(super) const CONNECTION_STATUS: u32 = 2;
/// `IPS_DST_NAT`.
pub(super) const STATUS_DNAT: u32 = 0x20;
/// `NFT_REJECT_ICMP_UNREACH` and `NFT_REJECT_TCP_RST`.
pub(super) const REJECT_UNREACHABLE: u32 = 0;
pub(super) const REJECT_RESET: u32 = 1;
/// `NFT_BYTEORDER_HTON`.
pub(super) const TO_NETWORK_ORDER: u32 = 1;
/// `NFT_NG_RANDOM`.
pub(super) const RANDOM: u32 = 1;
/// `ETH_P_IP` and `ETH_P_IPV6`.
pub(super) const ETHER_IPV4: u16 = 0x0800;
pub(super) const ETHER_IPV6: u16 = 0x86dd;
/// `PACKET_BROADCAST` and `PACKET_MULTICAST`.
pub(super) const PACKET_BROADCAST: u8 = 1;
pub(super) const PACKET_MULTICAST: u8 = 2;
pub(super) const LOOKUP_INVERTED: u32 = 1;
pub(super) const FIB_RESULT_OIF: u32 = 1;
pub(super) const FIB_RESULT_TYPE: u32 = 3;
pub(super) const FIB_SOURCE: u32 = 1;
pub(super) const FIB_DESTINATION: u32 = 2;
pub(super) const FIB_INPUT: u32 = 8;
/// `RTN_LOCAL`.
pub(super) const ROUTE_LOCAL: u32 = 2;
/// `NF_NAT_RANGE_PROTO_RANDOM_FULLY`.
pub(super) const FULLY_RANDOM: u32 = 0x10;
/// `NFT_CONTINUE`.
pub(super) const CONTINUE: i32 = -1;
pub(super) const DROP: i32 = 0;
pub(super) const ACCEPT: i32 = 1;
pub(super) const JUMP: i32 = -3;
pub(super) const GOTO: i32 = -4;
pub(super) const RETURN: i32 = -5;
/// IFNAMSIZ.
pub(super) const INTERFACE_BYTES: usize = 16;
/// nft's user data of a rule: type 0 is its comment.
pub(super) const USERDATA_COMMENT: u8 = 0;
