//! What a person sees in place of a problem: a short page that says what to do
//! now. Programs get the problem itself.

use axum::http::StatusCode;
use axum::http::header::{
    ACCEPT, ACCEPT_LANGUAGE, CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue,
};
use axum::response::Response;

use super::body::POLICY;
use super::error::{Problem, with_body};

/// The languages that pages are written in. In a response's extensions it
/// says that a person is waiting for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    English,
    Japanese,
}

/// What a page says, in one language.
struct Text {
    language: &'static str,
    title: &'static str,
    advice: &'static str,
}

impl Language {
    /// The language for whoever asks for a page; `None` for a program.
    pub(super) fn of_person(headers: &HeaderMap) -> Option<Self> {
        let mut accepted = words(headers, &ACCEPT);
        accepted.any(|kind| kind == "text/html").then(|| {
            // Browsers list first what is preferred.
            let known = words(headers, &ACCEPT_LANGUAGE).find_map(|tag| match primary(tag) {
                "ja" => Some(Self::Japanese),
                "en" => Some(Self::English),
                _ => None,
            });
            known.unwrap_or(Self::English)
        })
    }

    fn text(self, problem: &Problem) -> Text {
        let (language, title, advice) = match (self, problem.status) {
            (Self::English, StatusCode::FORBIDDEN) => (
                "en",
                "This link is no longer valid.",
                "Go back to Redmine and download the file again.",
            ),
            (Self::English, StatusCode::NOT_FOUND) => (
                "en",
                "The file is not there.",
                "Go back to Redmine, reload the page and try again.",
            ),
            (Self::English, _) => (
                "en",
                "The file cannot be had at the moment.",
                "Go back to Redmine and try again in a while.",
            ),
            (Self::Japanese, StatusCode::FORBIDDEN) => (
                "ja",
                "このリンクは無効になりました。",
                "Redmine に戻り、もう一度ファイルをダウンロードしてください。",
            ),
            (Self::Japanese, StatusCode::NOT_FOUND) => (
                "ja",
                "ファイルが見つかりません。",
                "Redmine に戻り、ページを再読み込みしてからもう一度お試しください。",
            ),
            (Self::Japanese, _) => (
                "ja",
                "現在ファイルを取得できません。",
                "Redmine に戻り、しばらくしてからもう一度お試しください。",
            ),
        };
        Text {
            language,
            title,
            advice,
        }
    }
}

/// Writes a page about the problem into a response, whose other headers are
/// kept.
pub(super) fn write(
    problem: &Problem,
    language: Language,
    mut response: Response,
    request_id: &str,
) -> Response {
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    let Text {
        language,
        title,
        advice,
    } = language.text(problem);
    // Neither a code nor a request's id has a character that HTML would mind.
    let code = problem.code;
    let page = format!(
        "<!DOCTYPE html>\n<html lang=\"{language}\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n<title>{title}</title>\n\
         <style>body {{ font-family: sans-serif; margin: 3em auto; max-width: 32em; padding: 0 1em }}\
         \nsmall {{ color: #666 }}</style>\n\
         <h1>{title}</h1>\n<p>{advice}</p>\n<p><small>{code} · {request_id}</small></p>\n</html>\n"
    );
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    with_body(response, html, page)
}

/// The elements of a list header, without their parameters.
fn words<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter();
    let lists = values.filter_map(|value| value.to_str().ok());
    let elements = lists.flat_map(|list| list.split(','));
    elements.map(|element| element.split(';').next().unwrap_or_default().trim())
}

fn primary(tag: &str) -> &str {
    tag.split('-').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_get_a_page_in_the_first_language_that_is_known() {
        for (accept, languages, expected) in [
            ("*/*", "ja", None),
            ("application/json", "ja", None),
            ("text/html", "", Some(Language::English)),
            (
                "text/html,*/*;q=0.8",
                "ja,en-US;q=0.7",
                Some(Language::Japanese),
            ),
            (
                "application/xml, text/html;q=0.9",
                "ja-JP",
                Some(Language::Japanese),
            ),
            (
                "text/html",
                "de-DE, en-GB;q=0.8, ja",
                Some(Language::English),
            ),
            ("text/html", "fr", Some(Language::English)),
            ("text/html", "jam, x-ja", Some(Language::English)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            headers.insert(ACCEPT_LANGUAGE, HeaderValue::from_static(languages));
            let found = Language::of_person(&headers);
            assert_eq!(found, expected, "{accept} {languages}");
        }
    }
}
