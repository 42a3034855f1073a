//! The lines that answer flows, as the command-line contract has them, from text and from an image.

use weir_abi::Image;
use weir_compiler::flow::{Origins, VerdictLine, WrittenRules, judge};
use weir_tests::engines::{image, reference};
use weir_tests::world::World;

const CLUSTER: &str = r#"
{apiVersion: v1, kind: Pod, metadata: {name: web, namespace: shop, labels: {app: web}},
 spec: {containers: []}, status: {podIP: 10.1.0.1}}
---
{apiVersion: v1, kind: Pod, metadata: {name: api, namespace: shop, labels: {app: api}},
 spec: {containers: []}, status: {podIP: 10.1.0.2}}
"#;

const POLICIES: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: shop}
specs:
- endpointSelector: {matchLabels: {app: web}}
  ingress:
  - fromEndpoints: [{}]
    toPorts:
    - ports: [{port: "81", protocol: TCP}]
    - ports: [{port: "80", protocol: TCP}]
      rules: {http: [{method: GET}]}
---
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: {name: no-vendor}
spec:
  endpointSelector: {}
  egressDeny:
  - toCIDR: [198.51.100.0/24]
  egress:
  - toEntities: [all]
"#;

/// A flow without its id, and the answer without it.
const ANSWERS: &[(&str, &str)] = &[
    (
        r#""src":"shop/api","dst":"shop/web","proto":"TCP","dport":80,"direction":"both","http":{"method":"PUT"}"#,
        r#""verdict":"redirect-deny","by":[{"direction":"egress","kind":"CiliumClusterwideNetworkPolicy","policy":"no-vendor","rule":"egress[0]","file":"policies.yaml","line":22},{"direction":"ingress","kind":"CiliumNetworkPolicy","policy":"shop/web","rule":"specs[0].ingress[0].toPorts[1]","file":"policies.yaml","line":11}],"reason":"denied-by-request""#,
    ),
    (
        r#""src":"shop/api","dst":"shop/web","proto":"TCP","dport":82,"direction":"ingress""#,
        r#""verdict":"deny","by":[{"direction":"ingress","kind":"CiliumNetworkPolicy","policy":"shop/web","rule":"specs[0].ingress[0].toPorts[0]","file":"policies.yaml","line":10}],"reason":"default-deny""#,
    ),
    (
        r#""src":"10.1.0.1","dst":"198.51.100.1","proto":"ICMP","icmp_type":8,"direction":"egress""#,
        r#""verdict":"deny","by":[{"direction":"egress","kind":"CiliumClusterwideNetworkPolicy","policy":"no-vendor","rule":"egressDeny[0]","file":"policies.yaml","line":20}],"reason":"denied-by-rule""#,
    ),
    (
        r#""src":"198.51.100.1","dst":"shop/api","proto":"TCP","dport":1,"direction":"both""#,
        r#""verdict":"allow","by":[],"reason":"no-policy""#,
    ),
];

#[test]
fn answers_are_the_contracts() {
    let files = [("policies.yaml", POLICIES), ("cluster.yaml", CLUSTER)];
    let mut world =
        World::read(files.map(|(name, text)| (name.to_owned(), text.as_bytes().to_vec())).to_vec());
    let lines: String = ANSWERS.iter().map(|(flow, _)| format!("{{\"id\":\"f\",{flow}}}\n")).collect();
    let flows = world.read_flows("flows.jsonl", &lines);
    assert_eq!(world.errors(), [""; 0]);

    let opened = Image::open(world.image().unwrap().as_bytes()).unwrap();
    let written = WrittenRules::new(&world.policies, &world.sources);
    let voices: [(_, &dyn Origins); 2] =
        [(reference(&world).unwrap(), &written), (image(&world).unwrap(), &opened)];
    for (engine, origins) in voices {
        for (flow, (_, answer)) in flows.iter().zip(ANSWERS) {
            let line = VerdictLine::new(flow, &judge(&*engine, flow), origins);
            assert_eq!(serde_json::to_string(&line).unwrap(), format!("{{\"id\":\"f\",{answer}}}"));
        }
    }
}
