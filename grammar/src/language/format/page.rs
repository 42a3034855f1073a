//! What is written: lines with their indentation, and comments that end theirs.
//!
//! A line's end is written when something follows it, so that a comment can still join the line before.

/// Columns of a level.
pub(super) const STEP: usize = 4;
/// Columns of a line, where there is a choice.
pub(super) const WIDTH: usize = 110;

/// A text that grows.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    /// Where comments begin that end a line of something else.
    trailing: Vec<usize>,
    /// Where the next line begins, if one is to begin.
    next: Option<Next>,
    /// The line has a comment, and nothing may follow.
    is_remarked: bool,
    /// Something stands in the block that is open, so that an empty line may follow.
    is_begun: bool,
}

#[derive(Clone, Copy, Debug)]
struct Next {
    indent: usize,
    after_blank: bool,
}

impl Page {
    /// Ends the line; the next begins at a column.
    pub(super) fn end_line(&mut self, indent: usize) {
        self.next = Some(Next { indent, after_blank: false });
    }

    /// Leaves an empty line before the next, unless it is a block's first.
    pub(super) fn leave_blank(&mut self) {
        if let Some(next) = &mut self.next
            && self.is_begun
        {
            next.after_blank = true;
        }
    }

    /// Writes on.
    pub(super) fn write(&mut self, text: &str) {
        if let Some(Next { indent, after_blank }) = self.next.take()
            && !self.text.is_empty()
        {
            self.text.push_str(if after_blank { "\n\n" } else { "\n" });
            self.text.extend(std::iter::repeat_n(' ', indent));
            self.is_remarked = false;
        }
        self.text.push_str(text);
        self.is_begun = true;
    }

    /// What follows is the first of a block.
    pub(super) fn open(&mut self) {
        self.is_begun = false;
    }

    /// Writes a comment: at the end of the line, or on one of its own.
    pub(super) fn remark(&mut self, comment: &str, is_alone: bool) {
        let indent = self.next.map_or(0, |next| next.indent);
        if is_alone || self.is_remarked || self.text.is_empty() {
            self.write(comment);
        } else {
            self.text.push(' ');
            self.trailing.push(self.text.len());
            self.text.push_str(comment);
        }
        self.is_remarked = true;
        self.end_line(indent);
    }

    /// The text, the last line without its end. Comments at the ends of lines that follow each other on one level stand in one column.
    pub(super) fn finish(self) -> String {
        let mut text = String::with_capacity(self.text.len());
        let mut trailing = self.trailing.into_iter().peekable();
        let mut start = 0;
        // Lines that are held back until it is known how wide the widest of them is.
        let mut held: Vec<(&str, &str)> = Vec::new();
        for line in self.text.split_inclusive('\n') {
            let end = start + line.len();
            let comment = trailing.next_if(|&at| at < end).unwrap_or(end);
            let (said, comment) = line.split_at_checked(comment - start).unwrap_or((line, ""));
            start = end;
            if held.last().is_some_and(|&(before, _)| comment.is_empty() || indent(before) != indent(said)) {
                release(&mut text, &mut held);
            }
            if comment.is_empty() {
                text.push_str(said);
            } else {
                held.push((said, comment));
            }
        }
        release(&mut text, &mut held);
        text
    }
}

/// Columns before the first word of a line.
fn indent(line: &str) -> usize {
    line.len() - line.trim_start_matches(' ').len()
}

/// Writes lines with their comments in one column.
fn release(text: &mut String, held: &mut Vec<(&str, &str)>) {
    let columns = |said: &str| said.chars().count();
    let widest = held.iter().map(|(said, _)| columns(said)).max().unwrap_or(0);
    for (said, comment) in held.drain(..) {
        text.push_str(said);
        text.extend(std::iter::repeat_n(' ', widest - columns(said)));
        text.push_str(comment);
    }
}
