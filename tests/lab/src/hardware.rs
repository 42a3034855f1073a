//! A wire of hardware: veths that work as network cards do, which XDP needs.
//!
//! A veth hands its peer what the sender's kernel left undone: checksums that are not summed up, packets of 64 KiB that are not cut. What XDP
//! sends on from such a packet is wrong, as nobody sums it up any more. And a veth takes what XDP sends back from the other end only where a
//! program of XDP stands at its own, which then would join packets to larger ones that it never cuts again.
//!
//! Not here: the interfaces of pods.

use super::wiring::port_of;
use super::{Lab, Place};
use aya::Ebpf;
use aya::programs::{Xdp, XdpMode};
use std::io;
use std::process::Stdio;

/// Lets everything pass.
static PASS: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/pass.bpf.o"));

/// What makes it so; it ends with this.
#[derive(Debug)]
pub(super) struct Hardware {
    _pass: Ebpf,
}

impl Hardware {
    /// Makes the wire of a lab one of hardware.
    pub(super) fn of(lab: &Lab) -> io::Result<Hardware> {
        // The sender's device sums up and cuts nothing by itself, so its kernel does it.
        for (_, place) in lab.on_wire() {
            leave_off(place, "eth0", "tx")?;
        }
        let ports: Vec<String> = lab.on_wire().map(|(number, _)| port_of(number)).collect();
        let pass = lab.wire.inside(|| stand_at(&ports))?.map_err(io::Error::other)?;
        for port in &ports {
            leave_off(&lab.wire, port, "gro")?;
        }
        Ok(Hardware { _pass: pass })
    }
}

/// Has an interface not do something by itself.
fn leave_off(place: &Place, interface: &str, what: &str) -> io::Result<()> {
    let mut ethtool = place.tool("ethtool");
    let output = ethtool.args(["-K", interface, what, "off"]).stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("ethtool in {}: {}", place.name(), said.trim())))
}

/// Puts the program at the ports of the wire; it must be done there.
fn stand_at(ports: &[String]) -> Result<Ebpf, Box<dyn std::error::Error + Send + Sync>> {
    let mut object = Ebpf::load(PASS)?;
    let program: &mut Xdp = object.program_mut("pass").ok_or("there is no program")?.try_into()?;
    program.load()?;
    for port in ports {
        program.attach(port, XdpMode::Driver)?;
    }
    Ok(object)
}
