//! What is written: lines with their indentation, comments that end theirs, and columns.
//!
//! A line's end is written when something follows it, so that a comment can still join the line before. Lines that follow each other on
//! one level have what begins a column in one column.

/// Columns of a level.
pub(super) const STEP: usize = 4;
/// Columns of a line, where there is a choice.
pub(super) const WIDTH: usize = 110;

/// What stands in one column on lines that follow each other, in the order of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// The `->` of an expectation.
    Arrow,
    /// Its verdict.
    Verdict,
    /// A comment behind something.
    Comment,
}

impl Column {
    const ALL: [Column; 3] = [Column::Arrow, Column::Verdict, Column::Comment];

    /// Columns of the widest line that others are made as wide as.
    fn most(self) -> usize {
        if self == Column::Arrow { 40 } else { WIDTH }
    }
}

/// A text that grows.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
    /// Where columns begin, by place.
    columns: Vec<(usize, Column)>,
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

    /// Begins a column; what is written next stands in it.
    pub(super) fn column(&mut self, column: Column) {
        self.text.push(' ');
        self.columns.push((self.text.len(), column));
    }

    /// Writes a comment: at the end of the line, or on one of its own.
    pub(super) fn remark(&mut self, comment: &str, is_alone: bool) {
        let indent = self.next.map_or(0, |next| next.indent);
        if is_alone || self.is_remarked || self.text.is_empty() {
            self.write(comment);
        } else {
            self.column(Column::Comment);
            self.text.push_str(comment);
        }
        self.is_remarked = true;
        self.end_line(indent);
    }

    /// The text, the last line without its end.
    pub(super) fn finish(self) -> String {
        let mut columns = self.columns.into_iter().peekable();
        let mut start = 0;
        let mut lines = Vec::new();
        for text in self.text.split_inclusive('\n') {
            let end = start + text.len();
            let mut line = Line { text: text.to_owned(), columns: Vec::new() };
            while let Some((at, column)) = columns.next_if(|&(at, _)| at < end) {
                line.columns.push((at - start, column));
            }
            lines.push(line);
            start = end;
        }
        for column in Column::ALL {
            let is_run =
                |a: &Line, b: &Line| a.indent() == b.indent() && a.begins(column) && b.begins(column);
            lines.chunk_by_mut(is_run).for_each(|run| align(run, column));
        }
        lines.into_iter().map(|line| line.text).collect()
    }
}

/// A line, and where its columns begin.
struct Line {
    text: String,
    columns: Vec<(usize, Column)>,
}

impl Line {
    fn indent(&self) -> usize {
        self.text.len() - self.text.trim_start_matches(' ').len()
    }

    fn begins(&self, column: Column) -> bool {
        self.columns.iter().any(|&(_, other)| other == column)
    }

    /// Columns before a column.
    fn width(&self, column: Column) -> usize {
        let at = self.columns.iter().find(|&&(_, other)| other == column).map_or(0, |&(at, _)| at);
        self.text.get(..at).unwrap_or("").chars().count()
    }
}

/// Has a column begin in the same place on lines that follow each other.
fn align(run: &mut [Line], column: Column) {
    let widest = run.iter().map(|line| line.width(column)).max().unwrap_or(0);
    if widest > column.most() {
        return;
    }
    for line in run {
        let missing = widest - line.width(column);
        let Some(place) = line.columns.iter().position(|&(_, other)| other == column) else { continue };
        let Some(&(at, _)) = line.columns.get(place) else { continue };
        line.text.insert_str(at, &" ".repeat(missing));
        for (later, _) in line.columns.iter_mut().skip(place) {
            *later += missing;
        }
    }
}
