//! Reading only, no judgement: the file's nodes and the hook environment.

pub mod appspec;
pub mod hook_env;
pub mod interpolate;
pub mod yaml;
