//! The little of ERB that stands in `config/s3.yml`: values from the
//! environment. Whatever else Ruby could compute is an error, never a guess.

/// What is not understood, or not there, and in which line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ErbError {
    /// The line, counted from 1.
    pub(super) line: usize,
    /// What is wrong. Never a value.
    pub(super) problem: String,
}

/// The text with its tags replaced, as ERB replaces them.
pub(super) fn expand(
    text: &str,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Vec<ErbError>> {
    let (mut expanded, mut errors) = (String::with_capacity(text.len()), Vec::new());
    let mut rest = text;
    let mut line = 1;
    while let Some((before, tag)) = rest.split_once("<%") {
        line += lines_in(before);
        expanded.push_str(before);
        let Some((tag, after)) = tag.split_once("%>") else {
            let problem = "a tag is not closed".to_owned();
            errors.push(ErbError { line, problem });
            return Err(errors);
        };
        // In a comment of YAML it does not matter what a value is; what a
        // statement does goes beyond the line.
        let begun = expanded.rsplit('\n').next().unwrap_or_default();
        let commented = begun.trim_start().starts_with('#') && tag.starts_with('=');
        match value(tag, env) {
            _ if commented || tag.starts_with('#') => {}
            Ok(value) => expanded.push_str(&value),
            Err(problem) => errors.push(ErbError { line, problem }),
        }
        line += lines_in(tag);
        rest = after;
    }
    expanded.push_str(rest);
    if errors.is_empty() {
        Ok(expanded)
    } else {
        Err(errors)
    }
}

fn lines_in(text: &str) -> usize {
    text.matches('\n').count()
}

/// What a tag comes to: nothing for a variable that is not set, as in Ruby.
fn value(tag: &str, env: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let lookup = tag.strip_prefix('=').and_then(lookup);
    let Lookup {
        name,
        default,
        required,
    } = lookup.ok_or(
        "only <%= ENV['X'] %>, ENV.fetch('X') and these with a text for a default are understood",
    )?;
    match env(name) {
        Some(value) => Ok(value),
        None if required => Err(format!("the environment variable {name} is not set")),
        None => Ok(default.to_owned()),
    }
}

/// What is to be looked up.
struct Lookup<'a> {
    name: &'a str,
    default: &'a str,
    required: bool,
}

fn lookup(expression: &str) -> Option<Lookup<'_>> {
    let mut rest = Rest(expression);
    rest.take("ENV")?;
    let (name, default, required);
    if rest.take("[").is_some() {
        name = rest.text()?;
        rest.take("]")?;
        required = false;
        default = match rest.take("||") {
            Some(()) => rest.text_or_nil()?,
            None => "",
        };
    } else {
        rest.take(".fetch")?;
        rest.take("(")?;
        name = rest.text()?;
        let given = rest.take(",");
        required = given.is_none();
        default = match given {
            Some(()) => rest.text_or_nil()?,
            None => "",
        };
        rest.take(")")?;
    }
    rest.0.trim().is_empty().then_some(Lookup {
        name,
        default,
        required,
    })
}

/// What has not been read of an expression.
struct Rest<'a>(&'a str);

impl<'a> Rest<'a> {
    fn take(&mut self, word: &str) -> Option<()> {
        self.0 = self.0.trim_start().strip_prefix(word)?;
        Some(())
    }

    /// A text that means itself, in either kind of quotes.
    fn text(&mut self) -> Option<&'a str> {
        let quote = self.0.trim_start().chars().next();
        let quote = quote.filter(|quote| ['\'', '"'].contains(quote))?;
        let (text, rest) = self.0.trim_start().get(1..)?.split_once(quote)?;
        self.0 = rest;
        (!text.contains(['\\', '#'])).then_some(text)
    }

    fn text_or_nil(&mut self) -> Option<&'a str> {
        match self.take("nil") {
            Some(()) => Some(""),
            None => self.text(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str) -> Option<String> {
        match name {
            "SET" => Some("value".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    #[test]
    fn lookups_come_to_what_they_do_in_ruby() {
        for (tag, expected) in [
            ("<%= ENV['SET'] %>", "value"),
            ("<%=ENV[\"SET\"]%>", "value"),
            ("<%= ENV['UNSET'] %>", ""),
            ("<%= ENV['UNSET'] || 'default' %>", "default"),
            ("<%= ENV['SET'] || \"default\" %>", "value"),
            // An empty text is true in Ruby.
            ("<%= ENV['EMPTY'] || 'default' %>", ""),
            ("<%= ENV['UNSET'] || nil %>", ""),
            ("<%= ENV.fetch('SET') %>", "value"),
            ("<%= ENV.fetch('SET', 'default') %>", "value"),
            ("<%= ENV.fetch( \"UNSET\" , 'default' ) %>", "default"),
            ("<%= ENV.fetch('UNSET', nil) %>", ""),
            ("a<%= ENV['SET'] %>b<%= ENV['SET'] %>c", "avaluebvaluec"),
            ("<%# ENV.whatever %>", ""),
            ("# <%= credentials.key %>", "# "),
            ("  # a: <%= ENV['SET'] %> <%= b %>", "  # a:  "),
            ("100%", "100%"),
        ] {
            assert_eq!(expand(tag, &env).as_deref(), Ok(expected), "{tag}");
        }
    }

    #[test]
    fn whatever_else_ruby_could_compute_is_an_error_with_its_line() {
        for tag in [
            "<% x = 1 %>",
            "1\n# <% if x %>",
            "<%= x %>",
            "<%= ENV['SET'].upcase %>",
            "<%= ENV['SET'] + ENV['SET'] %>",
            "<%= ENV['SET'] || ENV['UNSET'] %>",
            "<%= ENV[SET] %>",
            "<%= ENV['SET\"] %>",
            "<%= ENV[\"#{x}\"] %>",
            "<%= ENV['a\\'b'] %>",
            "<%= ENV.fetch('UNSET') { 'default' } %>",
            "<%= ENV.fetch('UNSET', x) %>",
            "<%= Rails.application.credentials.key %>",
            "<%= ENV['SET'] -%>",
            "<%%= ENV['SET'] %>",
            "<%= ENV['SET']",
        ] {
            let text = format!("a: 1\nb: {tag}\n");
            let errors = expand(&text, &env).expect_err(tag);
            assert_eq!(errors.len(), 1, "{tag}");
            let lines = text[..text.find("<%").unwrap()].matches('\n').count();
            assert_eq!(errors[0].line, 1 + lines, "{tag}");
        }
    }

    #[test]
    fn all_errors_are_told_and_a_missing_variable_by_its_name() {
        let text = "<%= ENV.fetch('ONE') %>\n\n<%= 1 %>\n<%= ENV.fetch('TWO') %>";
        let errors = expand(text, &env).unwrap_err();
        let lines: Vec<_> = errors.iter().map(|error| error.line).collect();
        assert_eq!(lines, [1, 3, 4]);
        assert!(errors[0].problem.contains("ONE") && errors[2].problem.contains("TWO"));
    }
}
