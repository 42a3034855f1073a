//! scratch
use weir_compiler::*;
fn main() {
    let dir = std::env::args().nth(1).unwrap();
    let only = std::env::args().nth(2);
    let mut dirs: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    dirs.sort();
    let (mut n, mut bad_ref, mut bad_img, mut differ) = (0, 0, 0, 0);
    for d in dirs {
        let name = d.file_name().unwrap().to_string_lossy().to_string();
        if let Some(o) = &only { if !name.contains(o.as_str()) { continue; } }
        let mut reading = weir_grammar::Reading::default();
        for f in ["policies.yaml", "cluster.yaml"] {
            weir_grammar::read(&mut reading, f, std::fs::read(d.join(f)).unwrap(), &Default::default());
        }
        let mut diags = std::mem::take(&mut reading.diagnostics);
        let cluster = cluster::Cluster::collect(&mut reading.objects, &mut diags);
        let set = translate::translate(std::mem::take(&mut reading.objects), &cluster, &mut diags);
        for d in &diags { if d.severity == weir_grammar::diagnostic::Severity::Error { println!("{name}: {} {}", d.code.as_str(), d.message); } }
        let text = std::fs::read_to_string(d.join("flows.jsonl")).unwrap();
        let mut lock = identity::IdentityLock::default();
        let input = compile::Input { set: &set, cluster: &cluster, sources: &reading.sources, addresses_of: &|_, _| vec![] };
        let compiled = compile::compile(&input, &mut lock, &Default::default(), &mut |_| ()).unwrap();
        let image = weir_abi::Image::open(compiled.bytes.as_bytes()).unwrap();
        let interp = interpret::Interpreter::new(image, &cluster, None);
        let reference = reference::Reference::new(&set, &cluster, None);
        let mut fd = Vec::new();
        let file = reading.sources.add("flows", text.as_str());
        let flows = flow::read(file, &text, &cluster, &mut fd);
        for d in &fd { println!("{name}: flow {}", d.message); }
        for f in &flows {
            n += 1;
            let r = flow::judge(&reference, f);
            let i = flow::judge(&interp, f);
            if !f.expected.contains(&r.verdict) { bad_ref += 1; println!("REF {name} {} want {:?} got {:?}", f.id, f.expected, r); }
            if !f.expected.contains(&i.verdict) { bad_img += 1; println!("IMG {name} {} want {:?} got {:?}", f.id, f.expected, i); }
            if r != i { differ += 1; println!("DIF {name} {}\n   {:?}\n   {:?}", f.id, r, i); }
        }
    }
    println!("{n} flows, reference wrong {bad_ref}, image wrong {bad_img}, differ {differ}");
}
