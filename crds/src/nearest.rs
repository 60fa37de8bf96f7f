//! The known word that a misspelt one most likely stands for.

/// Least similarity (1.0 is equal) at which a suggestion helps more than it misleads.
const LIKELY: f64 = 0.6;

/// The known word nearest to `word`, if one is near at all.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = word.to_lowercase();
    known
        .into_iter()
        .map(|candidate| {
            let similarity =
                strsim::normalized_damerau_levenshtein(&lower, &candidate.to_lowercase());
            (similarity, candidate.len() == word.len(), candidate)
        })
        .filter(|(similarity, ..)| *similarity >= LIKELY)
        // Of two that are as near, the one of equal length: a swapped letter is likelier than a lost one.
        .max_by(|one, other| one.0.total_cmp(&other.0).then(one.1.cmp(&other.1)))
        .map(|(.., candidate)| candidate)
}
