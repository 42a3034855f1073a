//! Our own cases: what the corpus does not pin. A folder of `cases` is a clause.

use std::path::Path;
use weir_tests::case;
use weir_tests::engines::engines;
use weir_tests::kernel::tally;

#[test]
fn every_case_holds_on_every_engine() {
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    for (name, make) in engines() {
        let right = case::run(&cases, make).unwrap_or_else(|report| panic!("{name}:\n{report}"));
        assert!(right > 150, "{name}: only {right} flows were found");
    }
    println!("{}", tally());
}
