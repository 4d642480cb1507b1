//! temp
/// temp
pub fn encode(n:&str)->String{n.into()}
/// temp
pub fn decode(n:&str)->Option<String>{Some(n.into())}
