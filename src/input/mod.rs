//! Reading only, no judgement: the file's nodes and the hook environment.

pub mod yaml;
