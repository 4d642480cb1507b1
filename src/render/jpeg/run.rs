//! The way through a file's scans, of which only those are decoded that bring
//! something wanted.

use super::ac::{AcFirst, AcRefinement};
use super::bits::Input;
use super::frame::Frame;
use super::plane::Canvas;
use super::progressive::{DcFirst, DcRefinement, Store};
use super::scan::{Mcus, Scan, walk};
use super::segments::{START_OF_SCAN, Segments};
use super::sequential::{Coded, Sequential};
use super::tables::Tables;
use super::{Error, Plane};

/// How often the blocks of a picture may be gone through. Honest progressive
/// files have about ten scans.
const MAX_PASSES: u64 = 100;

/// What making the tables of a scan costs, in blocks.
const SCAN_COST: u64 = 10_000;

/// Decodes a file to `SIDE × SIDE` samples of each block.
pub(super) struct Run<'a, const SIDE: usize> {
    frame: Frame,
    tables: Tables,
    walker: Walker<'a>,
    canvases: Vec<Canvas<SIDE>>,
    /// What progressive scans have brought.
    stores: Vec<Store<SIDE>>,
    /// Components that no sequential scan has brought.
    missing: Vec<bool>,
}

impl<'a, const SIDE: usize> Run<'a, SIDE> {
    /// Begins behind the header of the first scan.
    pub(super) fn new(frame: Frame, tables: Tables, segments: Segments<'a>) -> Self {
        let components = frame.components.iter();
        let canvases = components.clone().map(Canvas::new).collect();
        let stores = components.clone().filter(|_| frame.progressive);
        Self {
            canvases,
            stores: stores.map(|c| Store::new(c.blocks)).collect(),
            missing: vec![true; frame.components.len()],
            walker: Walker {
                segments,
                budget: (frame.blocks() + SCAN_COST) * MAX_PASSES,
                any: false,
            },
            frame,
            tables,
        }
    }

    /// Decodes as many scans as it takes, of which the first has this header.
    pub(super) fn planes(mut self, first_scan: &[u8]) -> Result<Vec<Plane>, Error> {
        match self.scans(first_scan) {
            // What was decoded before the damage is shown.
            Err(Error::Broken) if self.walker.any => {}
            result => result?,
        }
        if !self.walker.any {
            return Err(Error::Broken);
        }
        for (store, canvas) in self.stores.iter().zip(&mut self.canvases) {
            store.draw(canvas);
        }
        let planes = self.canvases.into_iter().zip(&self.frame.components);
        Ok(planes.map(|(canvas, c)| canvas.finish(c)).collect())
    }

    fn scans(&mut self, first_scan: &[u8]) -> Result<(), Error> {
        let mut next = Some((START_OF_SCAN, first_scan));
        while let Some((code, body)) = next {
            if code == START_OF_SCAN {
                self.scan(&Scan::new(body, &self.frame)?)?;
                if self.is_complete() {
                    return Ok(());
                }
            } else {
                self.tables.read(code, body)?;
            }
            next = self.walker.segments.next()?;
        }
        Ok(())
    }

    fn is_complete(&self) -> bool {
        if self.frame.progressive {
            self.stores.iter().all(Store::is_complete)
        } else {
            !self.missing.contains(&true)
        }
    }

    fn scan(&mut self, scan: &Scan) -> Result<(), Error> {
        for component in &scan.components {
            let table = self.frame.components[component.index].quantization;
            let table = self.tables.quantization(table)?;
            self.canvases[component.index].quantize(table);
        }
        match scan.band.0 {
            _ if !self.frame.progressive => self.sequential(scan),
            0 if scan.high == 0 => self.dc_first(scan),
            0 => self.dc_refinement(scan),
            first if scan.high == 0 && Store::<SIDE>::wants_from(first) => self.ac_first(scan),
            _ if Store::<SIDE>::REFINED && scan.high > 0 => self.ac_refinement(scan),
            _ => {
                self.walker.segments.pass_scan();
                Ok(())
            }
        }
    }

    fn sequential(&mut self, scan: &Scan) -> Result<(), Error> {
        for component in &scan.components {
            self.tables.prepare_skip(component.ac);
            self.missing[component.index] = false;
        }
        let coded = scan.pick(&mut self.canvases).map(|(component, canvas)| {
            Ok(Coded {
                canvas,
                dc: self.tables.dc(component.dc)?,
                ac: self.tables.ac(component.ac)?,
                skip: self.tables.skip(component.ac)?,
                predictor: 0,
            })
        });
        let mcus = Sequential::<SIDE> {
            components: coded.collect::<Result<_, _>>()?,
            slots: scan.slots(&self.frame),
        };
        self.walker.walk(scan, &self.frame, &self.tables, mcus)
    }

    fn dc_first(&mut self, scan: &Scan) -> Result<(), Error> {
        let coded = scan.pick(&mut self.stores).map(|(component, store)| {
            store.saw(scan.band, scan.low);
            Ok((store, self.tables.dc(component.dc)?, 0))
        });
        let mcus = DcFirst {
            components: coded.collect::<Result<_, _>>()?,
            slots: scan.slots(&self.frame),
            low: scan.low,
        };
        self.walker.walk(scan, &self.frame, &self.tables, mcus)
    }

    fn dc_refinement(&mut self, scan: &Scan) -> Result<(), Error> {
        let stores = scan.pick(&mut self.stores).map(|(_, store)| {
            store.saw(scan.band, scan.low);
            store
        });
        let mcus = DcRefinement {
            components: stores.collect(),
            slots: scan.slots(&self.frame),
            low: scan.low,
        };
        self.walker.walk(scan, &self.frame, &self.tables, mcus)
    }

    fn ac_first(&mut self, scan: &Scan) -> Result<(), Error> {
        for component in &scan.components {
            self.tables.prepare_skip(component.ac);
        }
        let Some((component, store)) = scan.pick(&mut self.stores).next() else {
            return Ok(());
        };
        store.saw(scan.band, scan.low);
        let mcus = AcFirst {
            store,
            table: self.tables.ac(component.ac)?,
            skip: self.tables.skip(component.ac)?,
            band: scan.band,
            low: scan.low,
            empty: 0,
        };
        self.walker.walk(scan, &self.frame, &self.tables, mcus)
    }

    fn ac_refinement(&mut self, scan: &Scan) -> Result<(), Error> {
        let Some((component, store)) = scan.pick(&mut self.stores).next() else {
            return Ok(());
        };
        store.saw(scan.band, scan.low);
        let mcus = AcRefinement {
            store,
            table: self.tables.ac(component.ac)?,
            band: scan.band,
            low: scan.low,
            empty: 0,
        };
        self.walker.walk(scan, &self.frame, &self.tables, mcus)
    }
}

/// Goes through the file's scans, as long as that is reasonable.
struct Walker<'a> {
    segments: Segments<'a>,
    /// Blocks that may still be gone through.
    budget: u64,
    /// Something was decoded.
    any: bool,
}

impl Walker<'_> {
    fn walk(
        &mut self,
        scan: &Scan,
        frame: &Frame,
        tables: &Tables,
        mut mcus: impl Mcus,
    ) -> Result<(), Error> {
        let cost = scan.blocks(frame) + SCAN_COST;
        self.budget = self.budget.checked_sub(cost).ok_or(Error::TooCostly)?;
        let mut input = Input::new(self.segments.data, self.segments.at);
        let size = scan.mcus(frame);
        self.any |= walk(&mut input, size, tables.restart_interval, &mut mcus);
        self.segments.at = input.end();
        Ok(())
    }
}
