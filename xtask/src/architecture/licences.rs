//! Licences: every package's SPDX expression must be satisfiable with the licences of the list.
//!
//! An OR needs one branch, an AND needs both. The old form `MIT/Apache-2.0` means OR. A package without an expression is a
//! finding, since a licence file alone is for a person to judge.

use super::Finding;
use cargo_metadata::Metadata;

/// Findings for every package that may not be used.
pub(crate) fn check(
    metadata: &Metadata,
    allowed: &[String],
    place: &dyn Fn(&str, &str) -> String,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &metadata.packages {
        let what = match &package.license {
            None => format!("`{}` states no licence expression", package.name),
            Some(expression) => match satisfiable(expression, allowed) {
                Some(true) => continue,
                Some(false) => {
                    format!("`{}` is under {expression}, which the list does not allow", package.name)
                }
                None => {
                    format!("`{}` states a licence that is no SPDX expression: {expression}", package.name)
                }
            },
        };
        let place = place(&package.name, &package.version.to_string());
        let instead = "drop the dependency, or add the licence to [licenses] of deny.toml after reading it";
        findings.push(Finding::new(place, what, instead));
    }
    findings
}

/// Whether some choice among the ORs uses allowed licences only; `None` if the text is not an expression.
fn satisfiable(expression: &str, allowed: &[String]) -> Option<bool> {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let mut words = Words { words: spaced.split_whitespace().collect(), next: 0, allowed };
    let result = words.any()?;
    words.peek().is_none().then_some(result)
}

struct Words<'a> {
    words: Vec<&'a str>,
    next: usize,
    allowed: &'a [String],
}

impl<'a> Words<'a> {
    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.next).copied()
    }

    fn take(&mut self, word: &str) -> bool {
        let is_next = self.peek() == Some(word);
        self.next += usize::from(is_next);
        is_next
    }

    /// `all OR all …`
    fn any(&mut self) -> Option<bool> {
        let mut result = self.all()?;
        while self.take("OR") {
            result |= self.all()?;
        }
        Some(result)
    }

    /// `one AND one …`, which binds tighter than OR.
    fn all(&mut self) -> Option<bool> {
        let mut result = self.one()?;
        while self.take("AND") {
            result &= self.one()?;
        }
        Some(result)
    }

    /// A licence, a licence WITH an exception, or parentheses.
    fn one(&mut self) -> Option<bool> {
        if self.take("(") {
            let inner = self.any()?;
            return self.take(")").then_some(inner);
        }
        let mut name = self.peek().filter(|word| !matches!(*word, ")" | "OR" | "AND" | "WITH"))?.to_owned();
        self.next += 1;
        if self.take("WITH") {
            name = format!("{name} WITH {}", self.peek()?);
            self.next += 1;
        }
        Some(self.allowed.contains(&name))
    }
}

#[cfg(test)]
mod tests {
    use super::satisfiable;

    fn judge(expression: &str) -> Option<bool> {
        let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
        satisfiable(expression, &allowed)
    }

    #[test]
    fn one_branch_of_an_or_is_enough() {
        assert_eq!(judge("GPL-3.0-only OR MIT"), Some(true));
        assert_eq!(judge("GPL-3.0-only/MIT"), Some(true));
        assert_eq!(judge("GPL-3.0-only OR LGPL-2.1-only"), Some(false));
    }

    #[test]
    fn both_sides_of_an_and_are_needed() {
        assert_eq!(judge("MIT AND Apache-2.0"), Some(true));
        assert_eq!(judge("MIT AND NCSA"), Some(false));
        assert_eq!(judge("NCSA AND MIT OR MIT"), Some(true));
        assert_eq!(judge("(MIT OR NCSA) AND NCSA"), Some(false));
    }

    #[test]
    fn an_exception_is_part_of_the_licence() {
        assert_eq!(judge("Apache-2.0 WITH LLVM-exception"), Some(true));
        assert_eq!(judge("MIT WITH LLVM-exception"), Some(false));
    }

    #[test]
    fn nonsense_is_not_an_expression() {
        for text in ["", "MIT MIT", "MIT OR", "(MIT", "AND", "MIT)", "WITH"] {
            assert_eq!(judge(text), None, "{text}");
        }
    }
}
