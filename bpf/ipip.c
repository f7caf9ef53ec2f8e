/* IP-in-IP (RFC 2003) for kernels without `ipip`: the outer header on, and off again.
 *
 *   tunl0 ══veth══ tunl0p: encap ──▶ the uplink that the kernel's routes choose
 *   tunl0 ◀══veth══ tunl0p ◀────────── uplink: decap
 *
 * Which packets go by tunl0, and to which node, is decided by the kernel's routes alone. What a
 * program doesn't take it leaves to other filters and to the host (TC_ACT_UNSPEC).
 *
 * Numbers known only at loading are 64-bit loads of a mark, which the loader replaces: no
 * relocation, no symbol, nothing but the instructions is needed of the object file.
 *
 * Uplinks are Ethernet devices. A route's unlocked `mtu` counts for the outer packets no more than
 * for forwarded ones (ip_forward_use_pmtu); its `mtu lock` does, and so does what ICMP has told.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#define AF_INET 2
#define DONT_FRAGMENT 0x4000
#define FRAGMENT 0x3fff /* more fragments, or an offset */
#define ECN 3
#define ECT_1 1
#define ECT_0 2
#define CE 3

/* The same marks stand in crates/linux/src/ipip/program.rs. */
#define MARK(name, number)                                                     \
	static __always_inline __u64 name(void)                                \
	{                                                                      \
		__u64 value;                                                   \
		asm volatile("%0 = " #number " ll" : "=r"(value));             \
		return value;                                                  \
	}
MARK(sources, 0x43414c4900000001) /* hash map: outer sources permitted */
MARK(local, 0x43414c4900000002)   /* the node's address, in network order */
MARK(tunnel, 0x43414c4900000003)  /* tunl0's number */
MARK(peer, 0x43414c4900000004)    /* tunl0p's number */

struct icmp_error {
	__u8 type, code;
	__be16 checksum;
	__be16 unused, mtu;
};

/* Bytes of a packet that an ICMP error about it carries: the longest IP header, and a TCP header
 * without options, whose checksum the kernel may still be about to write. */
#define QUOTED 80

static __always_inline __u16 folded(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

static __always_inline __u16 checksum(struct iphdr *ip)
{
	return folded(bpf_csum_diff(0, 0, (__be32 *)ip, sizeof *ip, 0));
}

/* What comes out of tunl0 must be for its MAC, which is the same everywhere: no wire sees it. */
static __always_inline int to_tunnel(struct __sk_buff *skb)
{
	__u8 mac[ETH_ALEN] = { 0x02, 'c', 'a', 'l', 'i', 'p' };
	if (bpf_skb_store_bytes(skb, 0, mac, sizeof mac, 0))
		return TC_ACT_SHOT;
	/* Out of tunl0p rather than into tunl0: there it is counted, and seen by tcpdump. */
	return bpf_redirect(peer(), 0);
}

/* Answers a packet too large for the outer path with ICMP "fragmentation needed" (RFC 2003, 5.1;
 * RFC 1191). One without DF too: the other end takes no outer fragments, and Linux minds the answer
 * for such packets as well. In the destination's name, so that the answer comes from where the
 * route to it leads. */
static __always_inline int too_large(struct __sk_buff *skb, struct iphdr *in, __u32 mtu)
{
	struct {
		struct iphdr ip;
		struct icmp_error icmp;
		__u8 quoted[QUOTED];
	} answer = {};
	if (in->frag_off & bpf_htons(0x1fff))
		return TC_ACT_SHOT;
	if (bpf_skb_change_tail(skb, ETH_HLEN + QUOTED, 0) ||
	    bpf_skb_load_bytes(skb, ETH_HLEN, answer.quoted, QUOTED) ||
	    bpf_skb_adjust_room(skb, sizeof answer - QUOTED, BPF_ADJ_ROOM_MAC, 0))
		return TC_ACT_SHOT;
	answer.ip.version = 4;
	answer.ip.ihl = 5;
	answer.ip.tot_len = bpf_htons(sizeof answer);
	answer.ip.ttl = 64;
	answer.ip.protocol = IPPROTO_ICMP;
	answer.ip.saddr = in->daddr;
	answer.ip.daddr = in->saddr;
	answer.ip.check = checksum(&answer.ip);
	answer.icmp.type = 3;
	answer.icmp.code = 4;
	answer.icmp.mtu = bpf_htons(mtu);
	answer.icmp.checksum = folded(bpf_csum_diff(0, 0, (__be32 *)&answer.icmp,
						    sizeof answer - sizeof answer.ip, 0));
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &answer, sizeof answer, 0))
		return TC_ACT_SHOT;
	return to_tunnel(skb);
}

/* Bytes of the longest outer packet: of what is still to be cut into segments, one of those. */
static __always_inline __u32 longest(struct __sk_buff *skb, struct iphdr *in)
{
	if (!skb->gso_size)
		return skb->len - ETH_HLEN + sizeof(struct iphdr);
	__u32 transport = 8, inner = in->ihl * 4;
	__u8 words = 0;
	if (in->protocol == IPPROTO_TCP) {
		bpf_skb_load_bytes(skb, ETH_HLEN + inner + 12, &words, 1);
		transport = (words >> 4) * 4;
	}
	return sizeof(struct iphdr) + inner + transport + skb->gso_size;
}

/* At tunl0p's ingress: what the kernel has routed to tunl0. */
SEC("tc/encap") int encap(struct __sk_buff *skb)
{
	struct iphdr in;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, &in, sizeof in))
		return TC_ACT_SHOT;

	/* The route's gateway is the outer destination. Without a gateway there is none. */
	struct bpf_fib_lookup inner = {
		.family = AF_INET,
		.ifindex = tunnel(),
		.l4_protocol = in.protocol,
		.tos = in.tos & ~ECN,
		.ipv4_src = in.saddr,
		.ipv4_dst = in.daddr,
	};
	__u32 flags = BPF_FIB_LOOKUP_OUTPUT | BPF_FIB_LOOKUP_SKIP_NEIGH;
	if (bpf_fib_lookup(skb, &inner, sizeof inner, flags) || inner.ipv4_dst == in.daddr)
		return TC_ACT_SHOT;

	/* A length other than 0 makes the lookup tell the path's MTU. */
	__be32 node = inner.ipv4_dst;
	struct bpf_fib_lookup outer = {
		.family = AF_INET,
		.ifindex = peer(),
		.l4_protocol = IPPROTO_IPIP,
		.tot_len = 1,
		.ipv4_src = local(),
		.ipv4_dst = node,
	};
	if (bpf_fib_lookup(skb, &outer, sizeof outer, BPF_FIB_LOOKUP_SKIP_NEIGH) ||
	    outer.ifindex == inner.ifindex)
		return TC_ACT_SHOT;

	__u32 length = skb->len - ETH_HLEN + sizeof(struct iphdr);
	if (longest(skb, &in) > outer.mtu_result)
		return too_large(skb, &in, outer.mtu_result - sizeof(struct iphdr));

	__u64 room = BPF_F_ADJ_ROOM_ENCAP_L3_IPV4 | BPF_F_ADJ_ROOM_FIXED_GSO |
		     BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	if (bpf_skb_adjust_room(skb, sizeof(struct iphdr), BPF_ADJ_ROOM_MAC, room))
		return TC_ACT_SHOT;
	/* DF always: the other end takes no fragments. The TTL is the inner one, as the kernel's
	 * device has it; ECN too (RFC 6040, 4.1), and DSCP isn't shown to the network outside. */
	struct iphdr ip = {
		.version = 4,
		.ihl = 5,
		.tos = in.tos & ECN,
		.tot_len = length > 0xffff ? 0 : bpf_htons(length),
		.frag_off = bpf_htons(DONT_FRAGMENT),
		.ttl = in.ttl,
		.protocol = IPPROTO_IPIP,
		.saddr = local(),
		.daddr = node,
	};
	ip.check = checksum(&ip);
	if (bpf_skb_store_bytes(skb, ETH_HLEN, &ip, sizeof ip, 0))
		return TC_ACT_SHOT;

	/* Waits for ARP where it must, and loses nothing. */
	struct bpf_redir_neigh hop = { .nh_family = AF_INET, .ipv4_nh = outer.ipv4_dst };
	return bpf_redirect_neigh(outer.ifindex, &hop, sizeof hop, 0);
}

/* An ICMP "fragmentation needed" about a packet of the tunnel. The kernel keeps the MTU of a path
 * only for protocols that it knows; as an error about an echo reply it keeps it, and encap sees it
 * in the route (icmp_err in net/ipv4/icmp.c). */
static __always_inline void path_mtu(struct __sk_buff *skb, __u32 header)
{
	struct {
		struct icmp_error icmp;
		struct iphdr ip;
		__be16 quoted;
	} error;
	__u32 at = ETH_HLEN + header;
	if (bpf_skb_load_bytes(skb, at, &error, 30) || error.icmp.type != 3 ||
	    error.icmp.code != 4 || error.ip.ihl != 5 || error.ip.protocol != IPPROTO_IPIP ||
	    error.ip.saddr != (__u32)local())
		return;
	__u32 node = error.ip.daddr;
	if (!bpf_map_lookup_elem((void *)sources(), &node))
		return;
	__u16 ttl_protocol[2];
	__builtin_memcpy(&ttl_protocol[0], &error.ip.ttl, 2);
	error.ip.protocol = IPPROTO_ICMP;
	__builtin_memcpy(&ttl_protocol[1], &error.ip.ttl, 2);
	__u32 protocol_at = at + sizeof error.icmp + 8, first_at = at + sizeof error.icmp + 20;
	__u32 sum_at = at + 2;
	bpf_l4_csum_replace(skb, sum_at, ttl_protocol[0], ttl_protocol[1], 2);
	bpf_l4_csum_replace(skb, sum_at, error.quoted, 0, 2);
	__u16 echo_reply = 0;
	bpf_skb_store_bytes(skb, protocol_at, &ttl_protocol[1], 2, 0);
	bpf_skb_store_bytes(skb, first_at, &echo_reply, 2, 0);
}

/* At an uplink's ingress: what a node of the cluster has sent to this node's tunnel. */
SEC("tc/decap") int decap(struct __sk_buff *skb)
{
	__u8 header[60] __attribute__((aligned(8))) = {};
	struct iphdr *ip = (struct iphdr *)header;
	if (bpf_skb_load_bytes(skb, ETH_HLEN, header, sizeof *ip))
		return TC_ACT_UNSPEC;
	if (ip->protocol != IPPROTO_IPIP) {
		if (ip->protocol == IPPROTO_ICMP && ip->daddr == (__u32)local() && ip->ihl == 5)
			path_mtu(skb, sizeof *ip);
		return TC_ACT_UNSPEC;
	}
	/* Fragments are the host's, which may put them together. */
	if (ip->daddr != (__u32)local() || ip->frag_off & bpf_htons(FRAGMENT))
		return TC_ACT_UNSPEC;
	__u32 source = ip->saddr;
	if (!bpf_map_lookup_elem((void *)sources(), &source))
		return TC_ACT_UNSPEC;

	/* The host checks a header only after this, and drops a bad one. */
	__u32 length = ip->ihl * 4;
	if (ip->version != 4 || length < sizeof *ip || length > sizeof header)
		return TC_ACT_UNSPEC;
	if (length > sizeof *ip && bpf_skb_load_bytes(skb, ETH_HLEN, header, length))
		return TC_ACT_UNSPEC;
	if (folded(bpf_csum_diff(0, 0, (__be32 *)header, length, 0)))
		return TC_ACT_UNSPEC;
	if (bpf_ntohs(ip->tot_len) > skb->len - ETH_HLEN)
		return TC_ACT_UNSPEC;

	/* RFC 6040, 4.2. */
	struct iphdr in;
	__u32 at = ETH_HLEN + length;
	if (bpf_skb_load_bytes(skb, at, &in, sizeof in))
		return TC_ACT_SHOT;
	__u8 outer = ip->tos & ECN, inner = in.tos & ECN;
	if (outer == CE && inner == 0)
		return TC_ACT_SHOT;
	if ((outer == CE && inner != CE) || (outer == ECT_1 && inner == ECT_0)) {
		/* The sum is over 16 bits: version and header length, then TOS. */
		__u8 tos = (in.tos & ~ECN) | outer;
		__u16 before = bpf_htons(in.tos), after = bpf_htons(tos);
		if (bpf_l3_csum_replace(skb, at + 10, before, after, 2) ||
		    bpf_skb_store_bytes(skb, at + 1, &tos, 1, 0))
			return TC_ACT_SHOT;
	}

	__u64 room = BPF_F_ADJ_ROOM_FIXED_GSO | BPF_F_ADJ_ROOM_NO_CSUM_RESET;
	if (bpf_skb_adjust_room(skb, -(__s32)length, BPF_ADJ_ROOM_MAC, room))
		return TC_ACT_SHOT;
	return to_tunnel(skb);
}
