//! The tables in force: segments may change them before every scan.

use super::Error;
use super::huffman::{Skip, Table};

/// What segments between scans set.
#[derive(Default)]
pub(super) struct Tables {
    /// Quantization tables, in zigzag order.
    quantization: [Option<[u16; 64]>; 4],
    dc: [Option<Table>; 4],
    ac: [Option<Table>; 4],
    skip: [Option<Skip>; 4],
    /// MCUs between restart markers; 0 when there are none.
    pub(super) restart_interval: usize,
}

impl Tables {
    /// Takes the segment if it is one of tables.
    pub(super) fn read(&mut self, code: u8, body: &[u8]) -> Result<(), Error> {
        match code {
            0xdb => self.read_quantization(body),
            0xc4 => self.read_huffman(body),
            0xdd => {
                let interval = body.first_chunk().ok_or(Error::Broken)?;
                self.restart_interval = usize::from(u16::from_be_bytes(*interval));
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// A DQT segment (B.2.4.1).
    fn read_quantization(&mut self, mut body: &[u8]) -> Result<(), Error> {
        while let Some((&kind, rest)) = body.split_first() {
            let table = self.quantization.get_mut(usize::from(kind & 15));
            let table = table.ok_or(Error::Broken)?.insert([0; 64]);
            if kind >> 4 == 0 {
                let (steps, rest) = rest.split_first_chunk::<64>().ok_or(Error::Broken)?;
                *table = steps.map(u16::from);
                body = rest;
            } else {
                let (steps, rest) = rest.split_first_chunk::<128>().ok_or(Error::Broken)?;
                for (to, step) in table.iter_mut().zip(steps.as_chunks().0) {
                    *to = u16::from_be_bytes(*step);
                }
                body = rest;
            }
        }
        Ok(())
    }

    /// A DHT segment (B.2.4.2).
    fn read_huffman(&mut self, mut body: &[u8]) -> Result<(), Error> {
        while let Some((&kind, rest)) = body.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>().ok_or(Error::Broken)?;
            let total = counts.iter().map(|&count| usize::from(count)).sum();
            let (symbols, rest) = rest.split_at_checked(total).ok_or(Error::Broken)?;
            body = rest;
            let table = Table::new(counts, symbols)?;
            let index = usize::from(kind & 15);
            let place = match kind >> 4 {
                0 => self.dc.get_mut(index),
                1 => {
                    if let Some(skip) = self.skip.get_mut(index) {
                        *skip = None;
                    }
                    self.ac.get_mut(index)
                }
                _ => None,
            };
            *place.ok_or(Error::Broken)? = Some(table);
        }
        Ok(())
    }

    /// Makes [`Self::skip`] of this AC table ready.
    pub(super) fn prepare_skip(&mut self, index: u8) {
        let index = usize::from(index);
        if let (Some(Some(table)), Some(skip)) = (self.ac.get(index), self.skip.get_mut(index)) {
            skip.get_or_insert_with(|| Skip::new(table));
        }
    }

    pub(super) fn quantization(&self, index: u8) -> Result<&[u16; 64], Error> {
        get(&self.quantization, index)
    }

    pub(super) fn dc(&self, index: u8) -> Result<&Table, Error> {
        get(&self.dc, index)
    }

    pub(super) fn ac(&self, index: u8) -> Result<&Table, Error> {
        get(&self.ac, index)
    }

    pub(super) fn skip(&self, index: u8) -> Result<&Skip, Error> {
        get(&self.skip, index)
    }
}

fn get<T>(tables: &[Option<T>; 4], index: u8) -> Result<&T, Error> {
    let table = tables.get(usize::from(index));
    table.and_then(Option::as_ref).ok_or(Error::Broken)
}
