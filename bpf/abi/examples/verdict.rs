//! Asks an image file for a verdict: may the endpoint with this identity open a connection to this
//! address? The reader alone is enough, no compiler and no kernel.
//!
//! ```sh
//! cargo run -p weir-abi --features mmap --example verdict -- IMAGE                        # who is in it
//! cargo run -p weir-abi --features mmap --example verdict -- IMAGE 256 203.0.113.7 tcp/443
//! ```

use std::error::Error;
use std::path::Path;
use weir_abi::{Identity, Image, MappedImage, Outcome};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (&path, question) = arguments.split_first().ok_or("which image file?")?;
    let file = MappedImage::open(Path::new(path))?;
    // Every byte is checked here, once; from now on nothing can go wrong.
    let image = file.image()?;
    if let [identity, address, port] = question[..] {
        let outcome = verdict(&image, identity, address, port)?;
        println!("{:?}: {}", outcome.action, outcome.reason.as_str());
        if let Some(rule) = outcome.rule.and_then(|rule| image.rule(rule)) {
            println!("by {} {} {}:{}", rule.policy.name, rule.path, rule.policy.file, rule.line);
        }
    } else {
        for entry in image.identities() {
            println!("{}  {}", entry.identity.0, entry.labels.replace('\n', " "));
        }
    }
    Ok(())
}

fn verdict(image: &Image<'_>, identity: &str, address: &str, port: &str) -> Result<Outcome, Box<dyn Error>> {
    let (protocol, port) = port.split_once('/').ok_or("ports are written tcp/443")?;
    let protocol = match protocol {
        "tcp" => 6,
        "udp" => 17,
        "sctp" => 132,
        other => return Err(format!("{other} is not one of tcp, udp, sctp").into()),
    };
    // An identity that the image does not know is denied everything, as in the kernel.
    let Some(endpoint) = image.endpoint(Identity(identity.parse()?)) else { return Ok(Outcome::UNKNOWN) };
    let peer = image.address_class(address.parse()?);
    Ok(image.judge(endpoint.egress, peer, image.port_class(protocol, port.parse()?)))
}
