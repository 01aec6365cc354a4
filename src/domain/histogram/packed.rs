//! Histograms as bytes: packed, as rollups have them, and as the entries that a continuous aggregate makes.

use super::{BOUNDS, Histogram, Sum};

#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error("a packed histogram cannot be read: {0}")]
    Packed(#[from] postcard::Error),
    #[error("entries of a histogram cannot be read")]
    Entries,
}

impl Histogram {
    /// The form of the `latency_histogram` columns: variable-length integers, fewer than 2 KiB at the worst, so that
    /// a rollup row stays on its page.
    pub fn pack(&self) -> Vec<u8> {
        postcard::to_stdvec(self).unwrap_or_default()
    }

    pub fn unpack(bytes: &[u8]) -> Result<Self, UnpackError> {
        Ok(postcard::from_bytes(bytes)?)
    }

    /// Becomes the one that is in these bytes, of either form that [`Sum::add_packed`] reads. Many histograms can so be read
    /// one after the other into the memory of one.
    ///
    /// # Errors
    /// It cannot be read; what is there then is of no use.
    pub fn read(&mut self, packed: &[u8]) -> Result<(), UnpackError> {
        self.0.clear();
        match packed.split_first() {
            Some((0, entries)) if !entries.is_empty() => {
                for entry in self::entries(entries)? {
                    self.0.push(entry?);
                }
                Ok(())
            }
            _ => self.read_packed(packed).ok_or(postcard::Error::DeserializeUnexpectedEnd.into()),
        }
    }

    /// As [`Self::unpack`] reads it: the number of pairs, then bucket and count of each.
    fn read_packed(&mut self, mut bytes: &[u8]) -> Option<()> {
        for _ in 0..varint(&mut bytes)? {
            let bucket = u16::try_from(varint(&mut bytes)?).ok()?;
            self.0.push((bucket, varint(&mut bytes)?));
        }
        Some(())
    }
}

impl Sum {
    /// Adds one in its packed form, or in the form of a continuous aggregate: behind a zero byte, an entry for each bucket that has
    /// any, in order, which is the bucket's number in two bytes and its count in four, the highest byte first.
    ///
    /// # Errors
    /// It cannot be read; what is there then is of no use.
    pub fn add_packed(&mut self, packed: &[u8]) -> Result<(), UnpackError> {
        match packed.split_first() {
            Some((0, entries)) if !entries.is_empty() => {
                for entry in self::entries(entries)? {
                    let (bucket, count) = entry?;
                    self.add(usize::from(bucket), count);
                }
            }
            _ => self.add_all(&Histogram::unpack(packed)?),
        }
        Ok(())
    }

    /// Adds many that lie one behind the other: packed ones, and entries without the zero byte in front of them.
    ///
    /// # Errors
    /// They cannot be read; what is there then is of no use.
    pub fn add_concatenated(&mut self, packed: Option<&[u8]>, entries: Option<&[u8]>) -> Result<(), UnpackError> {
        let mut left = packed.unwrap_or_default();
        while !left.is_empty() {
            self.add_first(&mut left).ok_or(postcard::Error::DeserializeUnexpectedEnd)?;
        }
        for entry in self::entries(entries.unwrap_or_default())? {
            let (bucket, count) = entry?;
            self.add(usize::from(bucket), count);
        }
        Ok(())
    }

    /// Takes the first of packed ones.
    fn add_first(&mut self, bytes: &mut &[u8]) -> Option<()> {
        for _ in 0..varint(bytes)? {
            let bucket = u16::try_from(varint(bytes)?).ok()?;
            self.add(usize::from(bucket), varint(bytes)?);
        }
        Some(())
    }
}

/// Takes a number of postcard's form: seven bits a byte, the lowest first.
fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..u64::BITS).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Buckets and their counts, of entries of six bytes.
fn entries(bytes: &[u8]) -> Result<impl Iterator<Item = Result<(u16, u64), UnpackError>>, UnpackError> {
    let (entries, rest) = bytes.as_chunks::<6>();
    if !rest.is_empty() {
        return Err(UnpackError::Entries);
    }
    Ok(entries.iter().map(|[high, low, count @ ..]| {
        let bucket = u16::from_be_bytes([*high, *low]);
        let count = u64::try_from(i32::from_be_bytes(*count)).map_err(|_| UnpackError::Entries)?;
        if usize::from(bucket) < BOUNDS.len() { Ok((bucket, count)) } else { Err(UnpackError::Entries) }
    }))
}

#[cfg(test)]
mod tests {
    use super::{super::tests::of, *};

    #[test]
    fn entries_of_an_aggregate_are_the_same_histogram() {
        let histogram = of(&[0, 7, 7, 300, 86_400_000]);
        let mut packed = vec![0];
        for (bucket, count) in &histogram.0 {
            packed.extend(bucket.to_be_bytes());
            packed.extend(i32::try_from(*count).unwrap().to_be_bytes());
        }
        let mut sum = Sum::default();
        sum.add_packed(&packed).unwrap();
        sum.add_packed(&histogram.pack()).unwrap();
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(sum.histogram(), twice);
        let mut read = of(&[9]);
        read.read(&packed).unwrap();
        assert_eq!(read, histogram);
        let beyond = u16::try_from(BOUNDS.len()).unwrap().to_be_bytes();
        for broken in
            [&packed[..packed.len() - 1], &[0, 1][..], &[0, beyond[0], beyond[1], 0, 0, 0, 1], &[0, 0, 1, 255, 0, 0, 0]]
        {
            assert!(sum.clone().add_packed(broken).is_err() && read.read(broken).is_err());
        }
        sum.add_packed(&Histogram::default().pack()).unwrap();
        assert_eq!(sum.histogram(), twice);
        let mut concatenated = Sum::default();
        let behind = [Histogram::default().pack(), of(&[7]).pack(), of(&[300, 300]).pack()].concat();
        concatenated.add_concatenated(Some(&behind), Some(&[&packed[1..], &packed[1..]].concat())).unwrap();
        twice.merge(&of(&[7, 300, 300]));
        assert_eq!(concatenated.histogram(), twice);
        assert!(concatenated.clone().add_concatenated(Some(&behind[..behind.len() - 1]), None).is_err());
        assert!(concatenated.add_concatenated(None, Some(&packed[1..6])).is_err());
    }
}
