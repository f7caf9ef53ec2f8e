//! Errors as text.

/// An error and its sources in one line, without repetitions.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|said| said.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    // tonic's own word says nothing where a cause follows.
    if texts.len() > 1 && texts[0] == "transport error" {
        texts.remove(0);
    }
    texts.join(": ")
}
