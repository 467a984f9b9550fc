//! A world and what its actors do, and how both stand in a file.
//!
//! A file is a line of JSON for the world and one for each step; empty lines and what follows a `#` at the
//! beginning of a line are for people.

use std::mem::discriminant;
use std::{fmt, iter};

use fastrand::Rng;
use serde::{Deserialize, Serialize};

use crate::op::Op;
use crate::world::World;

/// An operation and who does it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Reduced by how many actors there are.
    pub actor: u8,
    /// What it does.
    pub op: Op,
}

/// What is played.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Case {
    /// Where.
    pub world: World,
    /// In which order, as far as one actor is concerned.
    pub steps: Vec<Step>,
}

impl Case {
    /// The case of a seed, of so many steps.
    ///
    /// Some kinds of operations are left out of it: then others meet each other that would have been kept apart
    /// (swarm testing: Groce et al., 2012).
    #[must_use]
    pub fn random(seed: u64, nr_steps: usize) -> Case {
        let mut dice = Rng::with_seed(seed);
        let world = World::random(&mut dice);
        let nr_left_out = dice.usize(..12);
        let left_out: Vec<_> = (0..nr_left_out)
            .map(|_| discriminant(&Op::random(&mut dice)))
            .collect();
        let ops = iter::repeat_with(|| (dice.u8(..world.actors), Op::random(&mut dice)));
        let ops = ops.filter(|(_, op)| !left_out.contains(&discriminant(op)));
        let steps = ops.take(nr_steps).map(|(actor, op)| Step { actor, op });
        Case {
            steps: steps.collect(),
            world,
        }
    }

    /// Reads what [`Display`](fmt::Display) wrote.
    ///
    /// # Errors
    /// Which line is no world or step, and why.
    pub fn parse(text: &str) -> Result<Case, String> {
        let mut world = None;
        let mut steps = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let no = |error| format!("line {}: {error}", number + 1);
            if world.is_none() {
                world = Some(serde_json::from_str(line).map_err(no)?);
            } else {
                steps.push(serde_json::from_str(line).map_err(no)?);
            }
        }
        let world = world.ok_or("there is no world in it")?;
        Ok(Case { world, steps })
    }
}

impl fmt::Display for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let line = |line: serde_json::Result<String>| line.map_err(|_| fmt::Error);
        writeln!(f, "{}", line(serde_json::to_string(&self.world))?)?;
        for step in &self.steps {
            writeln!(f, "{}", line(serde_json::to_string(step))?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_case_reads_as_it_was_written() {
        let case = Case::random(7, 500);
        let text = format!("# how it came about\n\n{case}");
        assert_eq!(Case::parse(&text), Ok(case));
    }

    #[test]
    fn a_seed_is_one_case_and_another_seed_another() {
        assert_eq!(Case::random(1, 50), Case::random(1, 50));
        assert_ne!(Case::random(1, 50), Case::random(2, 50));
    }

    #[test]
    fn a_line_that_is_no_step_is_named() {
        let mut text = Case::random(1, 2).to_string();
        text.push_str("{\"actor\":0,\"op\":\"dance\"}\n");
        let error = Case::parse(&text).unwrap_err();
        assert!(error.starts_with("line 4: "), "{error}");
        assert_eq!(
            Case::parse("# nothing"),
            Err("there is no world in it".into())
        );
    }
}
