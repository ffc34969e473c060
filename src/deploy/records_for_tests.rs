//! Records of deployments as the tests of the history, of the screens and of the page have them.

use crate::deploy::command::EventOrCommand;
use crate::deploy::history::{DeploymentRecord, Details, Ended, EventRecord, StepRecord};

pub(crate) fn step(step: &str, after_ms: u64, took_ms: u64) -> StepRecord {
    StepRecord { step: step.into(), after_ms, took_ms, is_undo: false, failed: false }
}

/// At this time of 27 Nov 2026, two seconds long.
pub(crate) fn event(event: impl Into<EventOrCommand>, at: &str, ended: Ended) -> EventRecord {
    EventRecord {
        event: event.into(),
        by: None,
        at: format!("2026-11-27T{at}Z"),
        took_ms: 2000,
        ended,
        moved: 0,
        down_ms: None,
        steps: Vec::new(),
        console: Vec::new(),
        details: Details::default(),
    }
}

pub(crate) fn record(deployment: &str, images: &[&str], events: Vec<EventRecord>) -> DeploymentRecord {
    let images = images.iter().map(|image| (*image).to_owned()).collect();
    let (deployment, revision) = (deployment.to_owned(), "s3://releases/web.zip".to_owned());
    DeploymentRecord { format: 2, deployment, revision, images, events }
}
