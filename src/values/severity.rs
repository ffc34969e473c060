//! How severe a finding of an image scan is.

use std::fmt;

/// From the least to the most; as a limit, the most that is let pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    /// As a limit alone: no finding at all.
    None,
    /// Nobody has judged it yet.
    Undefined,
    Informational,
    Low,
    Medium,
    High,
    Critical,
}

/// What a limit may be, from the strictest to the laxest.
pub(crate) const LIMITS: [&str; 6] = ["none", "informational", "low", "medium", "high", "critical"];

impl Severity {
    /// One of [`LIMITS`].
    pub(crate) fn limit(word: &str) -> Option<Self> {
        let all = [Self::None, Self::Informational, Self::Low, Self::Medium, Self::High, Self::Critical];
        all.into_iter().find(|severity| severity.word() == word)
    }

    /// As ECR or Inspector writes it; a word of theirs that is new counts as the worst.
    ///
    /// Source: ECR API, `FindingSeverity`; Inspector API, `Severity`.
    pub(crate) fn found(word: &str) -> Self {
        match word {
            "UNDEFINED" | "UNTRIAGED" => Self::Undefined,
            "INFORMATIONAL" => Self::Informational,
            "LOW" => Self::Low,
            "MEDIUM" => Self::Medium,
            "HIGH" => Self::High,
            _ => Self::Critical,
        }
    }

    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Undefined => "undefined",
            Self::Informational => "informational",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_ordered_and_a_severity_that_nobody_knows_passes_none_but_the_laxest() {
        let limits: Vec<_> = LIMITS.iter().filter_map(|word| Severity::limit(word)).collect();
        assert_eq!(limits.len(), LIMITS.len());
        assert!(limits.is_sorted());
        let passes = |word: &str| limits.iter().filter(|limit| Severity::found(word) <= **limit).count();
        let counts = ["UNDEFINED", "UNTRIAGED", "INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL", "APOCALYPTIC"];
        assert_eq!(counts.map(passes), [5, 5, 5, 4, 3, 2, 1, 1]);
    }
}
