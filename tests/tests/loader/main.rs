//! Loading, on whatever kernel this runs on: programs verified, images put in force and swapped, programs at interfaces, and nothing
//! left behind. `cargo xtask kernel` runs it on Linux 6.1, where `WEIR_KERNEL` says so and the tests hold the kernel to it.
//!
//! The verifier takes seconds, on an emulated machine many: so one datapath lives a whole life here, chapter by chapter. It opens no file of the repository, because that machine has none. Needs root and namespaces; elsewhere it is skipped aloud, and
//! with CI=true that is a failure. A kernel that refuses the programs is a failure everywhere.
//!
//! Not here: every rule that there is (`tests/kernel.rs`), connections, swaps under load.

#![expect(clippy::unwrap_used, reason = "a kernel that refuses what is asked here has failed")]

mod image;
mod wire;

use aya::maps::MapData;
use image::{PEER, POD, SmallImage};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use std::collections::BTreeSet;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_abi::state::Hook;
use weir_abi::{Action, Image};
use weir_lab as lab;
use weir_runtime::balancer::{Balancer, BalancerOptions, DeviceHook, DeviceMode};
use weir_runtime::datapath::{
    Answer, Datapath, DatapathError, Endpoint, Installation, KernelBalancer, Options, Question,
    remove_everything, version_folder,
};
use weir_runtime::enforcer::Enforcer;
use wire::{EVERYTHING, Wire, in_a_namespace, in_a_thread, of_port};
use zerocopy::IntoBytes;

const LOOPBACK: u32 = 1;
const HOOKS: [Hook; 2] = [Hook::FromPod, Hook::ToPod];
/// Long enough for a packet on a slow machine; the wait ends when it comes.
const PATIENCE: Duration = Duration::from_secs(10);
/// For packets that must not come. They take a fraction of a millisecond where they may.
const BRIEF: Duration = Duration::from_millis(100);

/// A pin root of a test's own. What is pinned and attached goes with it.
struct PinRoot(PathBuf);

impl PinRoot {
    /// `None`, said aloud, where nobody may ask the kernel for anything.
    fn new(name: &str) -> Option<PinRoot> {
        lab::available()
            .then(|| PinRoot(PathBuf::from(format!("/sys/fs/bpf/weir-loader-{}-{name}", std::process::id()))))
    }

    fn open(&self) -> Result<Datapath, DatapathError> {
        let small = Options { conntrack_v4: 64, conntrack_v6: 64, addresses: 64, ..Options::default() };
        Datapath::open(&Options { pin_root: self.0.clone(), ..small })
    }

    /// Names of everything in a folder below.
    fn names(&self, folder: impl AsRef<Path>) -> Vec<String> {
        let entries = fs::read_dir(self.0.join(folder)).into_iter().flatten();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for PinRoot {
    fn drop(&mut self) {
        // The next run has another name, so what stays behind here disturbs nobody.
        _ = remove_everything(&self.0);
    }
}

/// Says who the pod behind an interface is, and its peer.
fn introduce(datapath: &mut Datapath, image: &SmallImage, interface: u32) -> Result<(), DatapathError> {
    let endpoint = Endpoint { identity: image.pod, v4: Some(POD.0), v6: Some(POD.1) };
    datapath.set_endpoint(interface, &endpoint)?;
    datapath.set_address(PEER.0.into(), image.peer)?;
    datapath.set_address(PEER.1.into(), image.peer)
}

fn ask(datapath: &Datapath, hook: Hook, peer: IpAddr, (protocol, port): (u8, u16)) -> Answer {
    let pod: IpAddr = if peer.is_ipv4() { POD.0.into() } else { POD.1.into() };
    let (source, destination) = if hook == Hook::FromPod { (pod, peer) } else { (peer, pod) };
    let question = Question { hook, interface: LOOPBACK, source, destination, protocol, port };
    datapath.ask(&question).unwrap()
}

/// Asks everything that the image tells apart and holds the answers against what it says itself. Both verdicts must come up at both
/// hooks and in both families.
fn agrees(datapath: &Datapath, image: &SmallImage) {
    let opened = Image::open(image.bytes()).unwrap();
    assert_eq!(datapath.image_in_force(), Some(opened.header().checksum));
    let pod = opened.endpoint(image.pod).unwrap();
    let mut seen = [0; 8];
    for hook in HOOKS {
        let table = if hook == Hook::FromPod { pod.egress } else { pod.ingress };
        for peer in image::peers() {
            let class = match peer {
                IpAddr::V4(v4) if v4 == PEER.0 => opened.endpoint(image.peer).unwrap().class,
                IpAddr::V6(v6) if v6 == PEER.1 => opened.endpoint(image.peer).unwrap().class,
                outside => opened.address_class(outside),
            };
            for port in image::PORTS {
                let expected = opened.judge(table, class, opened.port_class(port.0, port.1));
                let answer = ask(datapath, hook, peer, port);
                let told = (answer.action, answer.reason, answer.rule_or_set);
                let said = (expected.action, expected.reason, expected.rule);
                assert_eq!(told, said, "{hook:?} {peer} {port:?}");
                let allowed = usize::from(expected.action == Action::Allow);
                seen[hook as usize * 4 + usize::from(peer.is_ipv6()) * 2 + allowed] += 1;
            }
        }
    }
    assert!(seen.iter().all(|&seen| seen > 0), "both verdicts at both hooks in both families: {seen:?}");
}

/// Puts an image in force and holds the programs to it.
fn install(datapath: &mut Datapath, image: &SmallImage) -> Installation {
    let installed = datapath.install_image(image.bytes(), &[]).unwrap();
    introduce(datapath, image, LOOPBACK).unwrap();
    agrees(datapath, image);
    installed
}

/// The wire lets through what the image does, and nothing else.
fn only_passes(wire: &Wire, image: &SmallImage) {
    assert_eq!(wire.passing(|port| if port == image.open { PATIENCE } else { BRIEF }), of_port(image.open));
}

fn everything_passes(wire: &Wire) {
    assert_eq!(wire.passing(|_| PATIENCE), EVERYTHING);
}

fn nothing_passes(wire: &Wire) {
    assert_eq!(wire.passing(|_| BRIEF), []);
}

/// The programs stand at these interfaces, as it is written among the pins: by links, or by marks where there is no tcx.
fn stand_at(root: &PinRoot, datapath: &Datapath, interfaces: &[u32]) {
    let how = if datapath.has_tcx() { "" } else { "-clsact" };
    let both = |interface| ["from_pod", "to_pod"].map(|program| format!("{interface}-{program}{how}"));
    assert_eq!(
        root.names(version_folder(Path::new("")).join("links")),
        interfaces.iter().flat_map(both).collect::<Vec<_>>()
    );
}

#[test]
fn a_datapath_from_the_first_load_to_the_last_removal() {
    let Some(root) = PinRoot::new("life") else { return };
    in_a_namespace(|| {
        let mut datapath = root.open().unwrap();
        println!("loaded");
        it_is_the_kernel_that_was_asked_for(&datapath);
        the_verifier_has_room();
        nothing_passes_before_an_image(&mut datapath);
        images_take_turns(&mut datapath);
        a_bad_image_is_refused(&mut datapath);
        println!("images are swapped and refused");
        let wire = Wire::lay().unwrap();
        programs_stand_at_an_interface(&root, &mut datapath, &wire);
        println!("packets on a wire are judged");
        it_is_this_process_alone(&root);
        a_filter_that_was_removed_is_put_again(&mut datapath, &wire);
        a_move_to_larger_values_that_fails_mixes_nothing(&root, &mut datapath, &wire);
        println!("what others do to it is mended or refused");
        a_larger_image_replaces_the_programs(&root, &mut datapath, &wire);
        println!("programs were replaced for a larger image");
        another_datapath_does_not_meet_this_one(&datapath, &wire);
        println!("another one came and went");
        let datapath = the_next_process_takes_over(&root, datapath, &wire);
        println!("the next process has taken over");
        let datapath =
            what_another_version_left_stands_until_each_interface_is_taken_over(&root, datapath, &wire);
        println!("so has another version");
        what_is_detached_judges_no_more(&root, datapath, &wire);
    });
}

fn it_is_the_kernel_that_was_asked_for(datapath: &Datapath) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let has_tcx = datapath.has_tcx();
    println!("Linux {}, programs stand in {}", release.trim(), if has_tcx { "tcx" } else { "clsact" });
    let mut numbers = release.split(|other: char| !other.is_ascii_digit()).map(str::parse::<u32>);
    let version = (numbers.next().unwrap().unwrap(), numbers.next().unwrap().unwrap());
    assert_eq!(has_tcx, version >= (6, 6), "tcx came with 6.6");
    if let Ok(asked) = std::env::var("WEIR_KERNEL") {
        assert_eq!(format!("{}.{}", version.0, version.1), asked);
    }
}

/// The verifier gives up after a million instructions, counted along every way through a program. How many it sees differs from
/// kernel to kernel and from change to change, so the last tenth is left to those that nobody has tried.
fn the_verifier_has_room() {
    let infos = fs::read_dir("/proc/self/fdinfo").unwrap().flatten();
    // A descriptor may be closed meanwhile; those of the programs stay.
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let of_program = |text: String| {
        let number = text.lines().find_map(|line| line.strip_prefix("verified_insns:"))?;
        Some(number.trim().parse::<u32>().unwrap())
    };
    let verified: Vec<u32> = texts.filter_map(of_program).collect();
    println!("instructions that the verifier saw in each program: {verified:?}");
    assert!(verified.len() >= HOOKS.len() && verified.iter().all(|&seen| seen < 250_000), "{verified:?}");
}

fn nothing_passes_before_an_image(datapath: &mut Datapath) {
    assert_eq!(datapath.image_in_force(), None);
    let reasons = |datapath: &Datapath| {
        let peers = [IpAddr::from(PEER.0), IpAddr::from(PEER.1)];
        let answers = peers.into_iter().flat_map(|peer| HOOKS.map(|hook| ask(datapath, hook, peer, (6, 80))));
        answers.map(|answer| (answer.action, answer.reason.as_str())).collect::<Vec<_>>()
    };
    assert_eq!(reasons(datapath), [(Action::Deny, "unknown-interface"); 4]);
    introduce(datapath, &SmallImage::first(), LOOPBACK).unwrap();
    assert_eq!(reasons(datapath), [(Action::Deny, "no-image"); 4]);
}

fn images_take_turns(datapath: &mut Datapath) {
    let (first, second) = (SmallImage::first(), SmallImage::second());
    // So that each has been in either slot, and was overwritten there by the other and by itself.
    for image in [&first, &second, &first, &first, &second] {
        assert!(!install(datapath, image).grown);
    }
}

fn a_bad_image_is_refused(datapath: &mut Datapath) {
    let good = SmallImage::first();
    install(datapath, &good);
    let mut refused = |bytes: &[u8]| {
        let result = datapath.install_image(bytes, &[]);
        assert!(matches!(result, Err(DatapathError::Image(_))), "{result:?}");
    };
    // Words, so that the bytes are aligned as those of an image must be.
    let words: Vec<u64> =
        good.bytes().chunks_exact(8).map(|word| u64::from_le_bytes(word.try_into().unwrap())).collect();
    for at in [0, words.len() / 2, words.len() - 1] {
        let mut bad = words.clone();
        bad[at] ^= 1;
        refused(bad.as_bytes());
    }
    // One that would need a larger class besides: the programs must stay too.
    let large = SmallImage::large();
    refused(&large.bytes()[..large.bytes().len() - 8]);
    refused(&[]);
    agrees(datapath, &good);
}

fn programs_stand_at_an_interface(root: &PinRoot, datapath: &mut Datapath, wire: &Wire) {
    let absent = datapath.attach(4711);
    assert!(matches!(absent, Err(DatapathError::Attach { interface: 4711, .. })), "{absent:?}");
    stand_at(root, datapath, &[]);

    everything_passes(wire);
    datapath.attach(wire.interface).unwrap();
    stand_at(root, datapath, &[wire.interface]);
    // Nobody has said yet which pod is behind it.
    nothing_passes(wire);
    for image in [SmallImage::second(), SmallImage::first()] {
        install(datapath, &image);
        introduce(datapath, &image, wire.interface).unwrap();
        only_passes(wire, &image);
    }
    // Attaching what is attached changes nothing.
    datapath.attach(wire.interface).unwrap();
    stand_at(root, datapath, &[wire.interface]);
    only_passes(wire, &SmallImage::first());
}

fn it_is_this_process_alone(root: &PinRoot) {
    let other = root.open();
    assert!(matches!(other, Err(DatapathError::InUse { .. })), "{other:?}");
    let removed = remove_everything(&root.0);
    assert!(matches!(removed, Err(DatapathError::InUse { .. })), "{removed:?}");
}

/// Without tcx a filter goes with its clsact, and nobody is told.
fn a_filter_that_was_removed_is_put_again(datapath: &mut Datapath, wire: &Wire) {
    if datapath.has_tcx() {
        return;
    }
    wire::remove_clsact(wire.interface).unwrap();
    everything_passes(wire);
    assert!(datapath.installed().unwrap().attached.contains(&wire.interface));
    only_passes(wire, &SmallImage::first());
}

fn a_move_to_larger_values_that_fails_mixes_nothing(root: &PinRoot, datapath: &mut Datapath, wire: &Wire) {
    let (small, large) = (SmallImage::first(), SmallImage::large());
    // A pin that is no link of ours stands where one of the loopback interface would be.
    let folder = version_folder(&root.0);
    let foreign = folder.join(format!("links/{LOOPBACK}-from_pod"));
    MapData::from_pin(folder.join("settings")).unwrap().pin(&foreign).unwrap();
    let failed = datapath.install_image(large.bytes(), &[]);
    assert!(matches!(failed, Err(DatapathError::Attach { .. })), "{failed:?}");
    // Whatever stands at the interfaces now, no other image comes into force before all judge by the same slots again.
    let refused = datapath.install_image(SmallImage::second().bytes(), &[]);
    assert!(matches!(refused, Err(DatapathError::Attach { .. })), "{refused:?}");
    only_passes(wire, &small);
    fs::remove_file(foreign).unwrap();
    for image in [&SmallImage::second(), &small] {
        assert!(!install(datapath, image).grown);
        introduce(datapath, image, wire.interface).unwrap();
        only_passes(wire, image);
    }
}

fn a_larger_image_replaces_the_programs(root: &PinRoot, datapath: &mut Datapath, wire: &Wire) {
    let (small, large) = (SmallImage::first(), SmallImage::large());
    let mut classes = Vec::new();
    for (image, grows) in [(&small, false), (&large, true), (&small, false), (&large, false)] {
        let installed = install(datapath, image);
        assert_eq!(installed.grown, grows);
        // Programs that read the values of a smaller class must not stay at the interface.
        only_passes(wire, image);
        let images =
            root.names(version_folder(Path::new(""))).into_iter().filter(|name| name.starts_with("images-"));
        assert_eq!(images.collect::<Vec<_>>(), [format!("images-{}", installed.class)]);
        classes.push(installed.class);
    }
    assert!(classes[0] < classes[1] && classes[1..].iter().all(|&class| class == classes[1]), "{classes:?}");
}

fn another_datapath_does_not_meet_this_one(datapath: &Datapath, wire: &Wire) {
    let (here, there) = (SmallImage::large(), SmallImage::second());
    let Some(root) = PinRoot::new("other") else { return };
    let mut other = root.open().unwrap();
    assert_eq!(other.image_in_force(), None);
    install(&mut other, &there);
    agrees(datapath, &here);
    drop(other);
    remove_everything(&root.0).unwrap();
    assert!(!root.0.exists());
    agrees(datapath, &here);
    only_passes(wire, &here);
}

fn the_next_process_takes_over(root: &PinRoot, mut datapath: Datapath, wire: &Wire) -> Datapath {
    let (large, small) = (SmallImage::large(), SmallImage::second());
    let spare = wire::spare_interface().unwrap();
    datapath.attach(spare).unwrap();
    stand_at(root, &datapath, &[wire.interface, spare]);
    drop(datapath);
    only_passes(wire, &large);
    wire::remove_spare_interface().unwrap();

    let mut datapath = root.open().unwrap();
    // The image and who is who are still known, and the interface that went meanwhile is forgotten.
    agrees(&datapath, &large);
    stand_at(root, &datapath, &[wire.interface]);
    only_passes(wire, &large);
    // Its images are those that the programs at the interface judge by.
    install(&mut datapath, &small);
    introduce(&mut datapath, &small, wire.interface).unwrap();
    only_passes(wire, &small);
    datapath
}

fn what_another_version_left_stands_until_each_interface_is_taken_over(
    root: &PinRoot,
    mut datapath: Datapath,
    wire: &Wire,
) -> Datapath {
    let (before, after) = (SmallImage::second(), SmallImage::first());
    let spare = wire::spare_interface().unwrap();
    datapath.attach(spare).unwrap();
    drop(datapath);
    let other = root.0.join("state-0");
    fs::rename(version_folder(&root.0), &other).unwrap();

    let mut datapath = root.open().unwrap();
    assert_eq!((datapath.is_upgrade(), datapath.image_in_force()), (true, None));
    assert_eq!(datapath.installed().unwrap().attached, [].into());
    only_passes(wire, &before);
    // Programs are replaced for larger values, but for those of the other version.
    for image in [&SmallImage::large(), &after] {
        install(&mut datapath, image);
        only_passes(wire, &before);
    }
    introduce(&mut datapath, &after, wire.interface).unwrap();
    datapath.attach(wire.interface).unwrap();
    only_passes(wire, &after);
    // A process that dies amidst it leaves the rest to the next.
    drop(datapath);
    let mut datapath = root.open().unwrap();
    assert!(datapath.is_upgrade() && other.exists());
    stand_at(root, &datapath, &[wire.interface]);
    only_passes(wire, &after);
    datapath.finish_upgrade().unwrap();
    assert!(!datapath.is_upgrade() && !other.exists());
    stand_at(root, &datapath, &[wire.interface, spare]);
    assert_eq!(datapath.installed().unwrap().attached, [wire.interface, spare].into());
    only_passes(wire, &after);
    wire::remove_spare_interface().unwrap();
    datapath.detach(spare).unwrap();
    install(&mut datapath, &before);
    datapath
}

fn what_is_detached_judges_no_more(root: &PinRoot, mut datapath: Datapath, wire: &Wire) {
    datapath.detach(wire.interface).unwrap();
    stand_at(root, &datapath, &[]);
    everything_passes(wire);
    // It was detached already.
    datapath.detach(wire.interface).unwrap();

    datapath.attach(wire.interface).unwrap();
    only_passes(wire, &SmallImage::second());
    drop(datapath);
    remove_everything(&root.0).unwrap();
    assert!(!root.0.exists());
    everything_passes(wire);
    // And once more, where there is nothing.
    remove_everything(&root.0).unwrap();
}

/// What `ip netns exec` does to a process: a mount namespace of its own, and a `/sys` in it that hides the machine's.
fn hide_sys() {
    unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    // There is one for each network namespace, which cannot hide itself.
    let own = fs::File::open("/proc/thread-self/ns/net").unwrap();
    unshare(CloneFlags::CLONE_NEWNET).unwrap();
    mount(Some("sysfs"), "/sys", Some("sysfs"), MsFlags::empty(), none).unwrap();
    setns(own, CloneFlags::CLONE_NEWNET).unwrap();
}

/// A cgroup of a test's own, which is empty and goes with it.
struct Cgroup(PathBuf);

impl Cgroup {
    fn new() -> Cgroup {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let of_second = |line: &str| {
            let mut words = line.split(' ').skip(1);
            let path = words.next()?.to_owned();
            (words.next()? == "cgroup2").then_some(path)
        };
        let mount = mounts.lines().find_map(of_second).unwrap();
        let cgroup = Path::new(&mount).join(format!("weir-loader-{}", std::process::id()));
        fs::create_dir(&cgroup).unwrap();
        Cgroup(cgroup)
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        _ = fs::remove_dir(&self.0);
    }
}

#[test]
fn balancing_stands_at_every_place_and_leaves_none() {
    let Some(root) = PinRoot::new("balancing") else { return };
    let cgroup = Cgroup::new();
    let small = BalancerOptions { translations: 64, flows: 64, next_hops: 64, ..BalancerOptions::default() };
    let options = BalancerOptions {
        pin_root: root.0.clone(),
        cgroup: Some(cgroup.0.clone()),
        device_mode: DeviceMode::Tc,
        ..small
    };
    in_a_namespace(|| {
        let mut balancer = KernelBalancer::open(&options).unwrap();
        balancer.set_sockets().unwrap();
        the_verifier_has_room();
        let wire = Wire::lay().unwrap();
        let here = BTreeSet::from([wire.interface]);
        balancer.set_pods(&here).unwrap();
        // Nobody is balanced before an image, and nothing is lost.
        everything_passes(&wire);
        balancer.set_pods(&BTreeSet::new()).unwrap();
        let trouble = balancer.set_devices(&here).unwrap().remove(0).trouble;
        // A device that forwards nothing sends nothing on.
        assert!(trouble.is_some_and(|told| told.contains("net.ipv4.conf.host0.forwarding is 0")));
        fs::write("/proc/sys/net/ipv4/conf/host0/forwarding", "1").unwrap();
        assert_eq!(balancer.set_devices(&here).unwrap()[0].trouble, None);
        // Left to itself a veth has tc, and is told why.
        drop(balancer);
        let options = BalancerOptions { device_mode: DeviceMode::Auto, ..options.clone() };
        let mut balancer = KernelBalancer::open(&options).unwrap();
        let report = balancer.set_devices(&here).unwrap().remove(0);
        assert!(report.by == DeviceHook::Tc && report.no_xdp.is_some_and(|why| why.contains("veth")));
        everything_passes(&wire);
        drop(balancer);
        assert!(remove_everything(&root.0).unwrap());
        everything_passes(&wire);
    });
    assert!(!root.0.exists());
}

#[test]
fn what_is_pinned_outlives_a_mount_namespace_of_ones_own() {
    let Some(root) = PinRoot::new("mounts") else { return };
    let image = SmallImage::first();
    in_a_thread(|| {
        hide_sys();
        let mut datapath = root.open().unwrap();
        assert!(!root.0.exists());
        install(&mut datapath, &image);
    });
    assert!(root.0.exists());
    agrees(&root.open().unwrap(), &image);
    // What is pinned by number means nothing in another network.
    in_a_namespace(|| {
        let other = root.open();
        assert!(matches!(other, Err(DatapathError::OtherNetwork { .. })), "{other:?}");
    });
    in_a_thread(|| {
        hide_sys();
        assert!(remove_everything(&root.0).unwrap());
        assert!(!remove_everything(&root.0).unwrap());
    });
    assert!(!root.0.exists());
}

#[test]
fn a_pin_root_that_no_file_system_is_under_is_an_error() {
    if !lab::available() {
        return;
    }
    let opened = Datapath::open(&Options { pin_root: PathBuf::new(), ..Options::default() });
    assert!(matches!(opened, Err(DatapathError::NoFileSystem { .. })), "{opened:?}");
}
