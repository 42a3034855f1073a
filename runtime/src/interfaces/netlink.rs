//! Interfaces from the kernel: listed whole, and listed again when the kernel says that something changed.
//!
//! What the kernel says is a hint only; a message that is lost costs no more than the time until the next listing.
//! Many changes at once are one listing, and a long listing is followed by a longer pause. A link or host route that the kernel names
//! counts at once, for until then a new pod is open; what goes away waits for the listing.

use super::{Interfaces, Link};
use futures_util::stream::{Stream, StreamExt, TryStreamExt};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage, AddressScope};
use rtnetlink::packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteHeader, RouteMessage, RouteType};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder, new_multicast_connection};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

/// After a change the kernel is given so long to say more of it.
const QUIET: Duration = Duration::from_millis(20);
/// The longest pause after a listing.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Without any word of the kernel it is asked all the same.
const PATIENCE: Duration = Duration::from_secs(30);

const GROUPS: &[MulticastGroup] = &[
    MulticastGroup::Link,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
];

/// Why the kernel's interfaces are not known.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NetlinkError {
    /// No socket.
    #[error("cannot open a netlink socket: {0}")]
    Socket(#[from] io::Error),
    /// The kernel's answer.
    #[error("cannot list {what}: {source}")]
    List {
        /// What was asked for.
        what: &'static str,
        /// The answer.
        source: rtnetlink::Error,
    },
    /// The socket is gone.
    #[error("the netlink socket was closed")]
    Closed,
}

/// Tells of the node's interfaces for as long as anybody listens: at once, and after every change. `listed` is called whenever they could
/// be listed, changed or not.
///
/// # Errors
/// [`NetlinkError`]; it may be called again.
pub async fn watch(told: &watch::Sender<Option<Interfaces>>, listed: impl Fn()) -> Result<(), NetlinkError> {
    let (connection, handle, mut messages) = new_multicast_connection(GROUPS)?;
    let _connection = Aborting(tokio::spawn(connection));
    while !told.is_closed() {
        let began = Instant::now();
        let found = list(&handle).await?;
        listed();
        told.send_if_modified(|known| {
            let is_new = known.as_ref() != Some(&found);
            if is_new {
                *known = Some(found);
            }
            is_new
        });
        let earliest = Instant::now() + (began.elapsed() * 5).min(LONGEST_PAUSE);
        tokio::select! {
            heard = listen(&mut messages, told, earliest) => heard?,
            () = told.closed() => {}
        }
    }
    Ok(())
}

/// A task that ends with whoever began it.
struct Aborting(tokio::task::JoinHandle<()>);

impl Drop for Aborting {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Waits for a change that matters and for what comes right after it, and not less than until `earliest`.
async fn listen<S>(
    messages: &mut S,
    told: &watch::Sender<Option<Interfaces>>,
    earliest: Instant,
) -> Result<(), NetlinkError>
where
    S: Stream<Item = (NetlinkMessage<RouteNetlinkMessage>, rtnetlink::sys::SocketAddr)> + Unpin,
{
    let mut due = Instant::now() + PATIENCE;
    let mut latest = None;
    while let Ok(message) = timeout_at(due, messages.next()).await {
        let (message, _) = message.ok_or(NetlinkError::Closed)?;
        told.send_if_modified(|known| known.as_mut().is_some_and(|known| add(known, &message)));
        if latest.is_some() || matters(&message) {
            let latest = *latest.get_or_insert_with(|| Instant::now() + QUIET * 10);
            due = (Instant::now() + QUIET).min(latest).max(earliest);
        }
    }
    Ok(())
}

/// Adds what a message says is there; whether that is new.
fn add(known: &mut Interfaces, message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    match &message.payload {
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(message)) => {
            let is_new = !known.links.contains_key(&message.header.index);
            // A bridge speaks of its ports in messages of its own family, which say less.
            let is_whole = message.header.interface_family == AddressFamily::Unspec;
            if is_new && is_whole {
                known.links.insert(message.header.index, link(message));
            }
            is_new && is_whole
        }
        NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewRoute(message)) => {
            host_route(message).is_some_and(|(address, interface)| known.add_route(address, interface))
        }
        _ => false,
    }
}

/// A router may learn thousands of routes a second; those to networks say nothing of pods or of the way out.
fn matters(message: &NetlinkMessage<RouteNetlinkMessage>) -> bool {
    let NetlinkPayload::InnerMessage(inner) = &message.payload else { return true };
    match inner {
        RouteNetlinkMessage::NewRoute(route) | RouteNetlinkMessage::DelRoute(route) => {
            is_host_route(route) || is_default_route(route)
        }
        _ => true,
    }
}

async fn list(handle: &Handle) -> Result<Interfaces, NetlinkError> {
    let mut found = Interfaces::default();
    let fail = |what| move |source| NetlinkError::List { what, source };
    let mut links = std::pin::pin!(handle.link().get().execute());
    while let Some(message) = links.try_next().await.map_err(fail("links"))? {
        found.links.insert(message.header.index, link(&message));
    }
    let mut addresses = std::pin::pin!(handle.address().get().execute());
    while let Some(message) = addresses.try_next().await.map_err(fail("addresses"))? {
        if let Some(address) = own_address(&message) {
            found.own.insert(address);
            if let Some(link) = found.links.get_mut(&message.header.index) {
                link.is_of_node = true;
                link.addresses.push(address);
            }
        }
    }
    let v4 = RouteMessageBuilder::<Ipv4Addr>::new().build();
    let v6 = RouteMessageBuilder::<Ipv6Addr>::new().build();
    for request in [v4, v6] {
        let mut routes = std::pin::pin!(handle.route().get(request).execute());
        while let Some(message) = routes.try_next().await.map_err(fail("routes"))? {
            if let Some((address, interface)) = host_route(&message) {
                found.add_route(address, interface);
            }
            for interface in default_interfaces(&message) {
                if let Some(link) = found.links.get_mut(&interface) {
                    link.has_default_route = true;
                }
            }
        }
    }
    Ok(found)
}

fn link(message: &LinkMessage) -> Link {
    let is_loopback = message.header.flags.contains(LinkFlags::Loopback);
    // The loopback's have one too.
    let is_framed = matches!(message.header.link_layer_type, LinkLayerType::Ether | LinkLayerType::Loopback);
    let mut link = Link { is_loopback, is_bare: !is_framed, ..Link::default() };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::LinkInfo(infos) => {
                link.is_veth = infos.iter().any(|info| matches!(info, LinkInfo::Kind(InfoKind::Veth)));
            }
            _ => {}
        }
    }
    link
}

/// An address that others can reach; what is for this host or link alone is no peer of a pod.
fn own_address(message: &AddressMessage) -> Option<IpAddr> {
    if message.header.scope != AddressScope::Universe {
        return None;
    }
    // The far end's address is in `Address`, where there is a far end.
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    local.or_else(|| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })
}

fn is_host_route(message: &RouteMessage) -> bool {
    message.header.kind == RouteType::Unicast && matches!(message.header.destination_prefix_length, 32 | 128)
}

fn is_default_route(message: &RouteMessage) -> bool {
    let header = &message.header;
    let is_main = header.table == RouteHeader::RT_TABLE_MAIN;
    header.kind == RouteType::Unicast && header.destination_prefix_length == 0 && is_main
}

/// The interfaces of a default route; several, if it has several ways.
fn default_interfaces(message: &RouteMessage) -> Vec<u32> {
    if !is_default_route(message) {
        return Vec::new();
    }
    let of_attribute = |attribute: &RouteAttribute| match attribute {
        RouteAttribute::Oif(interface) => vec![*interface],
        RouteAttribute::MultiPath(ways) => ways.iter().map(|way| way.interface_index).collect(),
        _ => Vec::new(),
    };
    message.attributes.iter().flat_map(of_attribute).collect()
}

fn host_route(message: &RouteMessage) -> Option<(IpAddr, u32)> {
    if !is_host_route(message) {
        return None;
    }
    let mut route = (None, None);
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(address))
                if message.header.destination_prefix_length == 32 =>
            {
                route.0 = Some(IpAddr::V4(*address));
            }
            RouteAttribute::Destination(RouteAddress::Inet6(address))
                if message.header.destination_prefix_length == 128 =>
            {
                route.0 = Some(IpAddr::V6(*address));
            }
            RouteAttribute::Oif(interface) => route.1 = Some(*interface),
            _ => {}
        }
    }
    Some((route.0?, route.1?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rtnetlink::packet_route::route::RouteNextHop;

    #[test]
    fn only_routes_to_one_address_count() {
        let route = |address: Ipv4Addr, bits| {
            RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(address, bits)
                .output_interface(7)
                .build()
        };
        let one = route(Ipv4Addr::new(10, 0, 0, 1), 32);
        assert_eq!(host_route(&one), Some((IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)), 7)));
        assert_eq!(host_route(&route(Ipv4Addr::new(10, 0, 0, 0), 24)), None);
        // An IPv6 network of 32 bits is no host.
        let network = RouteMessageBuilder::<Ipv6Addr>::new()
            .destination_prefix(Ipv6Addr::new(0xfd00, 1, 0, 0, 0, 0, 0, 0), 32)
            .output_interface(7)
            .build();
        assert_eq!(host_route(&network), None);
        let mut local = one;
        local.header.kind = RouteType::Local;
        assert_eq!(host_route(&local), None);
    }

    #[test]
    fn default_routes_lead_out() {
        let route = |bits| {
            RouteMessageBuilder::<Ipv4Addr>::new()
                .destination_prefix(Ipv4Addr::UNSPECIFIED, bits)
                .output_interface(7)
                .build()
        };
        assert_eq!(default_interfaces(&route(0)), [7]);
        assert_eq!(default_interfaces(&route(8)), [0u32; 0]);
        let mut unreachable = route(0);
        unreachable.header.kind = RouteType::Unreachable;
        assert_eq!(default_interfaces(&unreachable), [0u32; 0]);
        let mut other_table = route(0);
        other_table.header.table = 7;
        assert_eq!(default_interfaces(&other_table), [0u32; 0]);
        let mut several = route(0);
        let way = |interface_index| {
            let mut way = RouteNextHop::default();
            way.interface_index = interface_index;
            way
        };
        several.attributes = vec![RouteAttribute::MultiPath(vec![way(3), way(4)])];
        assert_eq!(default_interfaces(&several), [3, 4]);
    }

    #[test]
    fn what_the_kernel_names_counts_at_once() {
        let new_link = |index, family, kind| {
            let mut message = LinkMessage::default();
            (message.header.index, message.header.interface_family) = (index, family);
            message.attributes = vec![
                LinkAttribute::IfName(format!("veth{index}")),
                LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]),
            ];
            NetlinkMessage::from(RouteNetlinkMessage::NewLink(message))
        };
        let new_route = |interface| {
            let route = RouteMessageBuilder::<Ipv4Addr>::new();
            let route = route.destination_prefix(Ipv4Addr::new(10, 0, 0, 1), 32).output_interface(interface);
            NetlinkMessage::from(RouteNetlinkMessage::NewRoute(route.build()))
        };
        let mut known = Interfaces::default();
        assert!(!add(&mut known, &new_route(7)), "nobody knows that link");
        assert!(!add(&mut known, &new_link(7, AddressFamily::Bridge, InfoKind::Veth)));
        assert!(add(&mut known, &new_link(7, AddressFamily::Unspec, InfoKind::Veth)));
        assert!(!add(&mut known, &new_link(7, AddressFamily::Unspec, InfoKind::Veth)));
        assert!(add(&mut known, &new_route(7)));
        assert!(!add(&mut known, &new_route(7)));
        assert_eq!(known.links[&7].routes, [IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1))].into());
    }

    #[tokio::test]
    async fn the_loopback_interface_is_found() {
        let (told, mut heard) = watch::channel(None);
        let watching = tokio::spawn(async move { watch(&told, || ()).await });
        heard.changed().await.unwrap();
        let found = heard.borrow().clone().unwrap();
        assert!(
            found.links.values().any(|link| link.name == "lo" && !link.is_veth && !link.is_bare),
            "{found:?}"
        );
        assert!(!found.own.contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)), "{found:?}");
        drop(heard);
        tokio::time::timeout(Duration::from_secs(5), watching).await.unwrap().unwrap().unwrap();
    }
}
