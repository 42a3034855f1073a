//! `graph`: who may talk to whom, drawn.

use crate::session::Session;
use std::path::{Path, PathBuf};

const GRAPH: &str = "graph -f policy.yaml -c cluster.yaml";

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every element with a title, as (title, texts).
fn titled(svg: &str) -> Vec<(String, String)> {
    let document = roxmltree::Document::parse(svg).unwrap();
    let title = |group: roxmltree::Node<'_, '_>| {
        let title =
            group.children().find(|child| child.has_tag_name(("http://www.w3.org/2000/svg", "title")))?;
        let texts = group.children().filter(|child| child.tag_name().name() == "text");
        let texts: Vec<&str> = texts.filter_map(|text| text.text()).collect();
        Some((title.text().unwrap_or_default().to_owned(), texts.join(" ")))
    };
    document.descendants().filter(|node| node.tag_name().name() == "g").filter_map(title).collect()
}

/// Holds a text against the form of the language: strings closed, braces and brackets in pairs, nothing odd outside of strings.
fn assert_is_dot(dot: &str) {
    let (mut open, mut in_string, mut escaped) = (Vec::new(), false, false);
    for character in dot.chars() {
        assert!(character == '\n' || !character.is_control(), "{character:?}");
        if in_string {
            assert_ne!(character, '\n', "a string ends on its line");
            (in_string, escaped) = (escaped || character != '"', !escaped && character == '\\');
            continue;
        }
        match character {
            '"' => in_string = true,
            '{' | '[' => open.push(character),
            '}' => assert_eq!(open.pop(), Some('{')),
            ']' => assert_eq!(open.pop(), Some('[')),
            other => assert!(other.is_ascii_alphanumeric() || "_=;,.-> \n".contains(other), "{other:?}"),
        }
    }
    assert!(!in_string && open.is_empty());
}

#[test]
fn both_ways_tell_the_same() {
    let session = Session::shop();
    let ran = session.run(&format!("{GRAPH} -o dot"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert_is_dot(&ran.out);
    let edges: Vec<&str> = ran.out.lines().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(
        edges,
        [
            r#"  v1 -> v0 [label="tcp/5432", tooltip="shop/web to shop/db\ntcp/5432\n  ingress: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policy.yaml:15", labeltooltip="shop/web to shop/db\ntcp/5432\n  ingress: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policy.yaml:15"];"#
        ]
    );
    assert!(ran.out.contains(r#"v0 [label="db\nopen from it""#), "{}", ran.out);

    let ran = session.run(GRAPH);
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let cell = "shop/web to shop/db\ntcp/5432\n  ingress: CiliumNetworkPolicy shop/db ingress[0].toPorts[0] policy.yaml:15";
    let titled = titled(&ran.out);
    assert!(titled.contains(&(cell.to_owned(), "a".to_owned())), "{titled:?}");
    assert!(titled.contains(&("tcp/5432".to_owned(), "a tcp/5432 (1)".to_owned())), "{titled:?}");
    assert_eq!(ran.out, session.run(GRAPH).out);
}

#[test]
fn what_is_denied_is_marked_where_asked() {
    let session = Session::shop();
    let policy = String::from_utf8(session.read("policy.yaml")).unwrap();
    session.file("policy.yaml", policy + "  ingressDeny:\n  - fromEntities: [world]\n");
    let denied = |words: &str| {
        session.run(&format!("{GRAPH} {words}")).out.contains("world to shop/db\ndenied all ports")
    };
    assert_eq!([denied(""), denied("--denied")], [false, true]);
    let dot = |words: &str| {
        session.run(&format!("{GRAPH} -o dot {words}")).out.contains("label=\"denied all ports\"")
    };
    assert_eq!([dot(""), dot("--denied")], [false, true]);
}

#[test]
fn equal_edges_of_all_of_a_namespace_are_one() {
    let session = Session::shop();
    let pod = |name: &str, last: u8| {
        format!(
            "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: ops, labels: {{app: {name}}}}}, spec: {{nodeName: n1}}, status: {{podIPs: [{{ip: 10.2.0.{last}}}]}}}}\n"
        )
    };
    session.file("more.yaml", pod("one", 11) + &pod("two", 12));
    session.file(
        "p.policy",
        "policy db in shop {\n for app=db\n allow ingress from all pods in ops on tcp/9100\n}\n",
    );
    let ran = session.run("graph -f p.policy -c cluster.yaml -c more.yaml -o dot");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let edges: Vec<&str> = ran.out.lines().filter(|line| line.contains(" -> ")).collect();
    assert_eq!(edges.len(), 1, "{edges:?}");
    assert!(edges[0].contains("ltail=cluster_0") && edges[0].contains("ops/two to shop/db"), "{edges:?}");
}

#[test]
fn text_of_policies_stays_text() {
    let session = Session::shop();
    let policy = String::from_utf8(session.read("policy.yaml")).unwrap();
    let rules =
        "      rules:\n        http:\n        - path: \"/a\\\"]};<script>&'</title>\\\\\\\\n\\u202e\"\n";
    session.file("a\"<b>&.yaml", policy + rules);
    let named =
        |format| session.run_with(&["graph", "-f", "a\"<b>&.yaml", "-c", "cluster.yaml", "-o", format], "");
    let ran = named("svg");
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    let told = titled(&ran.out);
    assert!(
        told.iter().any(|(title, _)| title.contains("http /a\"]};<script>&'</title>\\\\n\\u{202e}")),
        "{told:?}"
    );
    assert!(told.iter().any(|(title, _)| title.contains("a\"<b>&.yaml:15")), "{told:?}");
    assert!(!ran.out.contains("<script"));
    assert_is_dot(&named("dot").out);
}

#[test]
fn who_is_not_there_and_too_many_are_refused() {
    let session = Session::shop();
    let ran = session.run(&format!("{GRAPH} --focus shop/wed"));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(ran.err, "error: there is no workload shop/wed; that namespace has db, web\n");
    let ran = session.run(&format!("{GRAPH} --namespace show"));
    assert_eq!((ran.code, ran.err.as_str()), (2, "error: no pod is in namespace show\n"));
    assert_eq!(session.run(&format!("{GRAPH} --focus shop")).code, 2);

    let pods: String = (0..201)
        .map(|number| {
            format!(
                "---\n{{apiVersion: v1, kind: Pod, metadata: {{name: p{number}, namespace: many}}, spec: {{nodeName: n1}}, status: {{podIPs: [{{ip: 10.3.0.{number}}}]}}}}\n"
            )
        })
        .collect();
    session.file("many.yaml", pods);
    let ran = session.run(&format!("{GRAPH} -c many.yaml"));
    assert_eq!((ran.code, ran.out.as_str()), (2, ""));
    assert_eq!(
        ran.err,
        "error: 203 workloads are too many for one graph, at most 200 are drawn; choose by --namespace or --focus: many 201, shop 2\n"
    );
    let ran = session.run(&format!("{GRAPH} -c many.yaml --focus shop/db -o dot"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(!ran.out.contains("p17"), "whom no rule lets talk to it is left out");

    session.file(
        "p.policy",
        "policy db in shop {\n for app=db\n allow ingress from all pods in many on tcp/5432\n}\n",
    );
    let words = "graph -f p.policy -c cluster.yaml -c many.yaml --focus shop/db";
    let ran = session.run(&format!("{words} -o dot"));
    assert_eq!((ran.code, ran.err.as_str()), (0, ""));
    assert!(ran.out.contains("label=\"201 workloads\\nopen\""), "{}", ran.out);
}

#[test]
fn a_mistake_is_told_and_nothing_drawn() {
    let session = Session::shop();
    session.file("policy.yaml", "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: a}\n");
    let ran = session.run(GRAPH);
    assert_eq!((ran.code, ran.out.as_str()), (1, ""));
    assert!(ran.err.contains("error["), "{}", ran.err);
}

/// The guide shows what the tool draws.
#[test]
fn the_guide_s_picture_is_fresh() {
    let root = repository();
    let session = Session::new();
    let words = ["graph", "-f", "examples/shop/policies", "-c", "examples/shop/cluster.yaml"];
    let output = session.command(&words).current_dir(&root).output().unwrap();
    let shown = std::fs::read_to_string(root.join("docs/guide/graph-shop.svg")).unwrap();
    assert!(
        String::from_utf8(output.stdout).unwrap() == shown,
        "draw it again: cargo run -p policyc -- {} > docs/guide/graph-shop.svg",
        words.join(" ")
    );
}
