//! Flows from a file, and a JSON line for each.
//!
//! Not here: what a flow looks like and how it is judged (`weir_compiler::flow`), and on whose behalf
//! an engine is asked (`on_node`).

use crate::error::ProjectError;
use crate::finding;
use crate::inputs;
use crate::project::Project;
use crate::visible::VisibleJson;
use serde::Serialize;
use serde_json::ser::CompactFormatter;
use std::io::{self, Write};
use std::path::Path;
use weir_compiler::flow::{self, Engine, Flow, Origins, VerdictLine};
use weir_grammar::diagnostic::Code;

/// Bad lines of flows that are told one by one.
const BAD_LINES: usize = 200;

impl Project {
    /// Reads flows, one JSON object a line; `-` is stdin.
    ///
    /// # Errors
    /// [`ProjectError::Unreadable`]. What is wrong with a line is a finding, and that line no flow.
    pub fn flows(&mut self, path: &Path) -> Result<Vec<Flow>, ProjectError> {
        let file = match inputs::read_text(path, &mut self.sources)? {
            Ok(file) => file,
            Err(finding) => {
                self.add([*finding]);
                return Ok(Vec::new());
            }
        };
        let text = self.sources.text(file);
        let mut findings = Vec::new();
        let flows = flow::read(file, text, &self.cluster, &mut findings);
        if let Some(more @ 1..) = findings.len().checked_sub(BAD_LINES) {
            findings.truncate(BAD_LINES);
            findings.push(finding::left_out(Code::MoreErrors, file, text, more, "more bad line"));
        }
        self.add(findings);
        Ok(flows)
    }
}

/// Writes the answers as they come: a JSON line for each flow, in order. The writer should be buffered,
/// and is not flushed at the end.
///
/// # Errors
/// The writer's. No flow is judged after it.
pub fn answer(
    engine: &impl Engine,
    flows: &[Flow],
    origins: &dyn Origins,
    mut writer: impl Write,
) -> io::Result<()> {
    for flow in flows {
        let judgement = flow::judge(engine, flow);
        let line = VerdictLine::new(flow, &judgement, origins);
        let formatter = VisibleJson(CompactFormatter);
        line.serialize(&mut serde_json::Serializer::with_formatter(&mut writer, formatter))?;
        writer.write_all(b"\n")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::on_node::OnNode;
    use crate::shop::{FLOWS, Shop};
    use std::cell::Cell;
    use weir_abi::Image;
    use weir_compiler::flow::{Side, WrittenRules};
    use weir_compiler::identity::IdentityLock;
    use weir_compiler::ir::Direction;
    use weir_compiler::reference::Reference;

    fn told(engine: &impl Engine, flows: &[Flow], origins: &dyn Origins) -> String {
        let mut bytes = Vec::new();
        answer(engine, flows, origins, &mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn image_and_reference_answer_alike_on_behalf_of_every_node() {
        let shop = Shop::new();
        let mut project = shop.project();
        let flows = project.flows(&shop.path("flows.jsonl")).unwrap();
        let rules = WrittenRules::new(&project.set, &project.sources);
        for (name, verdicts) in
            [(None, "allow deny"), (Some("n1"), "allow deny"), (Some("n2"), "allow allow")]
        {
            let node = project.node(name).unwrap();
            let reference = Reference::new(&project.set, &project.cluster, None);
            let answers = told(&OnNode::new(reference, &project.cluster, node), &flows, &rules);
            let verdict_of = |line: &str| {
                let line: serde_json::Value = serde_json::from_str(line).unwrap();
                line["verdict"].as_str().unwrap().to_owned()
            };
            assert_eq!(answers.lines().map(verdict_of).collect::<Vec<_>>().join(" "), verdicts, "{answers}");
            assert_eq!(name == Some("n2"), answers.contains("enforced-elsewhere"), "{answers}");

            let compiled = project.compile(node, &mut IdentityLock::default(), None, &mut |_| ()).unwrap();
            let image = Image::open(compiled.bytes.as_bytes()).unwrap();
            let engine = OnNode::of_image(image, &project.cluster, None).unwrap();
            assert_eq!(told(&engine, &flows, &image), answers);
        }
    }

    #[test]
    fn an_image_of_a_node_that_is_not_there_is_refused() {
        let shop = Shop::new();
        let project = shop.project();
        let node = project.node(Some("n2")).unwrap();
        let compiled = project.compile(node, &mut IdentityLock::default(), None, &mut |_| ()).unwrap();
        let image = Image::open(compiled.bytes.as_bytes()).unwrap();
        let other = Project::read(&[shop.path("policy.yaml")], &[], &mut |_| ()).unwrap();
        let failed = OnNode::of_image(image, &other.cluster, None).unwrap_err();
        assert_eq!(failed.to_string(), "the image is for node n2, which the cluster does not have");
    }

    #[test]
    fn bad_lines_are_findings_and_the_good_ones_flows() {
        let shop = Shop::new();
        shop.file("flows.jsonl", format!("{FLOWS}{}{FLOWS}", "{}\n".repeat(BAD_LINES + 2)));
        let mut project = shop.project();
        assert_eq!(project.flows(&shop.path("flows.jsonl")).unwrap().len(), 4);
        assert_eq!(project.findings.len(), BAD_LINES + 1);
        let last = project.findings.last().unwrap();
        assert_eq!((last.code, last.message.as_str()), (Code::MoreErrors, "2 more bad lines in this file"));
    }

    #[test]
    fn nobody_is_asked_after_the_reader_has_gone() {
        struct Counting(Cell<usize>);
        impl Engine for Counting {
            fn side(&self, _: &Flow, _: Direction) -> Side {
                self.0.set(self.0.get() + 1);
                Side::NO_POLICY
            }
        }
        struct Gone;
        impl Write for Gone {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let shop = Shop::new();
        let mut project = shop.project();
        let flows = project.flows(&shop.path("flows.jsonl")).unwrap();
        let (engine, rules) = (Counting(Cell::new(0)), WrittenRules::new(&project.set, &project.sources));
        let failed = answer(&engine, &flows, &rules, Gone).unwrap_err();
        assert_eq!(failed.kind(), io::ErrorKind::BrokenPipe);
        // Both sides of the first flow.
        assert_eq!(engine.0.get(), 2);
    }
}
