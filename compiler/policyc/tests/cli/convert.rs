//! `policyc convert`, both ways.

use crate::session::{POLICY, Session};

#[test]
fn policies_come_out_in_the_other_way_and_back() {
    let session = Session::shop();
    let ran = session.run("convert --to policy -f policy.yaml");
    assert_eq!(ran.code, 0, "{}", ran.err);
    assert_eq!(
        ran.out,
        "policy db in shop {\n    for app=db\n    allow ingress from app=web on tcp/5432\n}\n"
    );
    session.file("db.policy", &ran.out);
    let back = session.run("convert --to yaml -f db.policy");
    assert_eq!(back.out, POLICY, "{}", back.err);
}

#[test]
fn what_is_no_policy_is_counted_and_what_is_wrong_is_told() {
    let session = Session::shop();
    let ran = session.run("convert --to yaml -f cluster.yaml");
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("4 objects left out"), "{}", ran.err);
    session.file("wrong.policy", "policy p { for all pods; alow ingress }");
    let ran = session.run("convert --to yaml -f wrong.policy");
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("error[E111]"), "{}", ran.err);
}

#[test]
fn either_way_gives_the_same_verdicts_at_its_own_lines() {
    let session = Session::shop();
    session.file("db.policy", session.run("convert --to policy -f policy.yaml").out);
    let verdicts = |policies: &str| {
        let ran = session.run(&format!("verdict -f {policies} -c cluster.yaml --flows flows.jsonl"));
        assert_eq!(ran.code, 0, "{}", ran.err);
        ran.out
    };
    let language = verdicts("db.policy");
    assert!(language.contains("\"file\":\"db.policy\",\"line\":3"), "{language}");
    let elsewhere =
        language.replace("\"file\":\"db.policy\",\"line\":3", "\"file\":\"policy.yaml\",\"line\":15");
    assert_eq!(elsewhere, verdicts("policy.yaml"));
    let ran =
        session.run("explain -f db.policy -c cluster.yaml --from shop/web --to shop/db --port 5432/tcp");
    assert!(ran.out.contains("db.policy:3:"), "{}", ran.out);
}
