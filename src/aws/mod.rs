//! TODO-DOC aws

pub mod config;
pub mod ecr;
pub mod s3;
