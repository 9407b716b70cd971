//! Writes HTML: what comes from outside passes through [`Html::text`] or an attribute's value, which escape it. Names of
//! elements and attributes are of the program.

use std::fmt::Write;

/// A growing piece of HTML, or of SVG within it.
#[derive(Debug, Default)]
pub struct Html {
    out: String,
}

/// Attributes of an element.
pub type Attributes<'a> = &'a [(&'static str, &'a str)];

impl Html {
    /// What has been written.
    pub fn finish(self) -> String {
        self.out
    }

    /// An element with what `inner` writes in it.
    pub fn element(&mut self, name: &'static str, attributes: Attributes, inner: impl FnOnce(&mut Self)) {
        self.open(name, attributes);
        self.out.push('>');
        inner(self);
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push('>');
    }

    /// An element with text in it.
    pub fn words(&mut self, name: &'static str, attributes: Attributes, text: &str) {
        self.element(name, attributes, |html| html.text(text));
    }

    /// An element that holds nothing, of HTML (`img`, `meta`) as of SVG.
    pub fn leaf(&mut self, name: &'static str, attributes: Attributes) {
        self.open(name, attributes);
        self.out.push_str("/>");
    }

    /// Text.
    pub fn text(&mut self, text: &str) {
        escape(text, &mut self.out);
    }

    /// A part of the program as it is: the document type, the style sheet.
    pub fn constant(&mut self, text: &'static str) {
        self.out.push_str(text);
    }

    fn open(&mut self, name: &'static str, attributes: Attributes) {
        self.out.push('<');
        self.out.push_str(name);
        for (key, value) in attributes {
            self.out.push(' ');
            self.out.push_str(key);
            self.out.push_str("=\"");
            escape(value, &mut self.out);
            self.out.push('"');
        }
    }
}

/// Text that is nothing but text, in an element as in a quoted attribute. Control characters, and those that turn the
/// direction of writing, are shown by their number.
fn escape(text: &str, out: &mut String) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(character),
            '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => numbered(character, out),
            _ if character.is_control() => numbered(character, out),
            _ => out.push(character),
        }
    }
}

fn numbered(character: char, out: &mut String) {
    // Writing to a string does not fail.
    let _ = write!(out, "\\u{{{:x}}}", u32::from(character));
}

/// Bytes as a `data:` address of a PNG.
pub fn png_address(bytes: &[u8]) -> String {
    format!("data:image/png;base64,{}", base64(bytes))
}

/// A drawing as a `data:` address of an SVG: shown as an image, it runs nothing and loads nothing.
pub fn svg_address(text: &str) -> String {
    format!("data:image/svg+xml;base64,{}", base64(text.as_bytes()))
}

/// RFC 4648, section 4.
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for three in bytes.chunks(3) {
        let word = three.iter().enumerate().fold(0u32, |word, (at, &byte)| word | u32::from(byte) << (16 - 8 * at));
        for at in 0..4 {
            let digit = ALPHABET[(word >> (18 - 6 * at)) as usize & 63];
            out.push(if at <= three.len() { char::from(digit) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_cannot_become_elements_or_leave_an_attribute() {
        let evil = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&amp;";
        let mut html = Html::default();
        html.element("p", &[("title", evil)], |html| html.words("b", &[], evil));
        let text = html.finish();
        assert!(!text.contains("<script") && !text.contains("<img"), "{text}");
        let escaped = "&quot;&#39;&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;&amp;amp;";
        assert_eq!(text, format!("<p title=\"{escaped}\"><b>{escaped}</b></p>"));
    }

    #[test]
    fn what_a_reader_cannot_see_is_shown_by_its_number() {
        let mut html = Html::default();
        html.text("a\0b\u{1b}[31m\u{202e}gpj.exe\nc");
        assert_eq!(html.finish(), "a\\u{0}b\\u{1b}[31m\\u{202e}gpj.exe\nc");
    }

    #[test]
    fn base64_has_the_values_of_the_standard() {
        let vectors =
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")];
        for (bytes, text) in vectors {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xfb, 0xff, 0xfe]), "+//+");
    }
}
