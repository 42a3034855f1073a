//! scratch
use std::time::Instant;
use weir_compiler::*;
fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let mut reading = weir_grammar::Reading::default();
    let t = Instant::now();
    for f in &args { if f.ends_with(".yaml") { weir_grammar::read(&mut reading, f, std::fs::read(f).unwrap(), &Default::default()); } }
    println!("read {:?}", t.elapsed());
    let t = Instant::now();
    let mut diags = std::mem::take(&mut reading.diagnostics);
    let cluster = cluster::Cluster::collect(&mut reading.objects, &mut diags);
    let set = translate::translate(std::mem::take(&mut reading.objects), &cluster, &mut diags);
    for d in diags.iter().take(5) { println!("{} {}", d.code.as_str(), d.message); }
    println!("translate {:?}", t.elapsed());
    for node in [None, args.iter().find(|a| a.starts_with("node=")).map(|a| cluster.node_named(&a[5..]).unwrap())] {
    let t = Instant::now();
    let mut lock = identity::IdentityLock::default();
    let input = compile::Input { set: &set, cluster: &cluster, sources: &reading.sources, addresses_of: &|_, _| vec![] };
    let mut last = Instant::now(); let mut name = "";
    let c = compile::compile(&input, &mut lock, &compile::Options{node, ..Default::default()}, &mut |s| { println!("  {name} {:?}", last.elapsed()); last = Instant::now(); name = s.as_str(); }).unwrap();
    println!("  {name} {:?}", last.elapsed());
    println!("compile {:?} {:?} bytes {}", t.elapsed(), c.contents, c.bytes.as_bytes().len());
    let t = Instant::now();
    let image = weir_abi::Image::open(c.bytes.as_bytes()).unwrap();
    println!("open {:?}", t.elapsed());
    for (i, e) in image.header().sections.iter().enumerate() { if e.len > 0 { print!("{i}:{} ", e.len); } }
    println!();
    // lookups
    let n = image.header().v4_bits; let _ = n;
    let mut x = 0x9E3779B97F4A7C15u64;
    let mut addrs: Vec<u32> = Vec::new();
    for p in &set.peers { for c in &p.cidrs { if let ir::CidrPart::Written(l) = c { for b in &l.blocks { if let ipnet::IpNet::V4(v) = b.cidr.net { x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); addrs.push(v.network().to_bits() | ((x >> 33) as u32 & v.hostmask().to_bits())); } } } } }
    if addrs.is_empty() { continue; }
    for i in (1..addrs.len()).rev() { x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407); addrs.swap(i, (x >> 33) as usize % (i + 1)); }
    let ep = image.endpoint(weir_abi::Identity(256)).unwrap();
    for _ in 0..3 {
    let t = Instant::now();
    let mut s = 0u64;
    for &a in &addrs { s += u64::from(image.address_class(std::net::IpAddr::V4(a.into())).0); }
    let d1 = t.elapsed();
    let t = Instant::now();
    for &a in &addrs { let c = image.address_class(std::net::IpAddr::V4(a.into())); let o = image.judge(ep.egress, c, image.port_class(6, (a >> 16) as u16 & 1023)); s += o.action as u64; }
    println!("{} addresses: class {:.1} ns, verdict {:.1} ns ({s})", addrs.len(), d1.as_nanos() as f64 / addrs.len() as f64, t.elapsed().as_nanos() as f64 / addrs.len() as f64);
    }
    }
    println!("{}", std::fs::read_to_string("/proc/self/status").unwrap().lines().find(|l| l.starts_with("VmHWM")).unwrap());
}
