//! The kernel's programs as bytes: one ELF object each, for a loader.
//!
//! The source is in the folder above, in C; `build/main.rs` compiles it. Layouts come from `weir_abi` and nowhere else.
//! Not here: loading, maps' sizes, attaching.

/// An object, aligned as ELF readers want it.
#[repr(C, align(8))]
struct Aligned<T: ?Sized>(T);

static POLICY_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/policy.bpf.o")));

/// `policy.bpf.c`: the programs `from_pod` and `to_pod`, and their maps.
pub static POLICY: &[u8] = &POLICY_OBJECT.0;

static SOCKET_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/socket.bpf.o")));

/// `services/socket.bpf.c`: the programs `connect4` to `bind6` and `sock_release`, and the maps of balancing that they use.
pub static SOCKET: &[u8] = &SOCKET_OBJECT.0;

static VETH_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/veth.bpf.o")));

/// `services/veth.bpf.c`: the programs `from_pod_balanced`, `to_node_balanced` and `to_pod_balanced`, and the maps of balancing.
pub static VETH: &[u8] = &VETH_OBJECT.0;

static WIRE_TC_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/wire_tc.bpf.o")));

/// `services/wire_tc.bpf.c`: the programs `from_wire` and `to_wire`, and the maps of balancing.
pub static WIRE_TC: &[u8] = &WIRE_TC_OBJECT.0;

static WIRE_XDP_OBJECT: &Aligned<[u8]> =
    &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/wire_xdp.bpf.o")));

/// `services/wire_xdp.bpf.c`: the program `from_wire_fast`, and the maps of balancing.
pub static WIRE_XDP: &[u8] = &WIRE_XDP_OBJECT.0;

static LAYOUTS_OBJECT: &Aligned<[u8]> = &Aligned(*include_bytes!(concat!(env!("OUT_DIR"), "/layouts.bpf.o")));

/// Every record and number of the C header as the compiler of the programs laid them out, for those that hold one side against
/// the other. It has no program.
pub static LAYOUTS: &[u8] = &LAYOUTS_OBJECT.0;

/// The C header that the programs are compiled against, made from `weir_abi`.
pub static C_HEADER: &str = include_str!(concat!(env!("OUT_DIR"), "/abi.h"));
