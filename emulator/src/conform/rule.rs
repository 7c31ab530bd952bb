//! A rule, and the row it gives.

use super::lab::{Lab, Probed};

/// A rule of one of the two contracts.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Its name, which stays the same from version to version.
    pub id: &'static str,
    /// Whether it is written in the contract.
    pub level: Level,
    /// The rule in a sentence, with the program as its subject.
    pub text: &'static str,
    /// The page, or the place in AWS's code, that it comes from.
    pub source: &'static str,
    /// The action that the function has to know.
    pub needs: Option<&'static str>,
    pub(super) probe: fn(&Lab<'_>) -> Probed,
}

/// Where a rule comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// The documentation or a standard says so.
    Contract,
    /// The platform works so, and a program that does not expect it loses an invocation or an
    /// environment.
    Practice,
}

/// The result of a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The program keeps it.
    Pass,
    /// The program breaks it.
    Fail,
    /// It could not be tried with this program.
    NotApplicable,
}

/// What was seen of one rule.
#[derive(Clone, Debug)]
pub struct Row {
    /// The rule.
    pub rule: &'static Rule,
    /// The result.
    pub verdict: Verdict,
    /// What the program did, or why the rule does not apply.
    pub seen: String,
    /// Every exchange and step of the run that decided.
    pub transcript: Vec<String>,
}

impl Level {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Contract => "contract",
            Self::Practice => "practice",
        }
    }
}

impl Verdict {
    /// Its name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NotApplicable => "not applicable",
        }
    }
}
