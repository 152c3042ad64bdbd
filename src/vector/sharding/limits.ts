// Bounds of sharding by ranges and centroids, with their reasons.
import { MAX_SHARDS } from "../database/limits.ts";

/** Rows over all shards after which split points or centroids are learned, where nothing is said. */
export const DEFAULT_LEARN_ROWS = 4096;
/** Fewer say nothing about the rows to come. */
export const MIN_LEARN_ROWS = 64;
export const MAX_LEARN_ROWS = 1_000_000;
/** Rows that are learned from, at most: with MAX_SHARDS centroids of 4096 dimensions a round takes a second, in slices. */
export const MAX_SAMPLE_ROWS = 2048;
/** Values that they have in all, at most: they are copies in JavaScript's memory. */
export const MAX_SAMPLE_VALUES = 2 ** 21;
/** Rounds of k-means: centroids of a sample hardly move afterwards. */
export const CENTROID_ROUNDS = 16;
/** Of these, the first ones, in which a cell of more rows than this times the mean is split: the others settle then. */
export const SPLIT_ROUNDS = 10;
export const SPLIT_ABOVE = 1.3;
/** And the cell that gives its centroid for it has at most this share of its rows. */
export const SPLIT_INTO = 0.65;
/** Part of a cell's mean squared distance that its weight grows by in a round, for each mean size that it is over. */
export const BALANCE_RATE = 0.1;
/** Rounds that only weights change in: a pass over the sample's distances each; and the greatest cell, by the mean, that ends them. */
export const BALANCE_ROUNDS = 80;
export const BALANCED = 1.05;
/** Rows of the sample between two pauses. */
export const LEARN_SLICE_ROWS = 32;
/** Queries of the sample that the number of probed shards is chosen by, and neighbours of each. */
export const PROBE_QUERIES = 200;
export const PROBE_NEIGHBOURS = 10;
/** The share of true neighbours that the probed shards must hold, where a database says nothing. */
export const DEFAULT_TARGET_RECALL = 0.97;
/** Split points: one less than shards. */
export const MAX_SPLIT_POINTS = MAX_SHARDS - 1;
/** Characters of a split point that is text. */
export const MAX_SPLIT_CHARACTERS = 256;
/** Rows moved in one go: other writes to the shard wait for it. */
export const SPREAD_ROWS = 200;
/** Rows whose places are told to their homes in one go, after a restore. */
export const TOLD_ROWS = 1000;
/** Rows of a sample that are asked of a shard at once. */
export const SAMPLE_PAGE_ROWS = 256;
/** A re-split that nobody asked for is tried again when the rows are more, or fewer, by this share, or after this time (ms): it may gain nothing. */
export const RESPLIT_GROWTH = 0.5;
export const RESPLIT_AGAIN_MS = 6 * 3_600_000;
/** How often the first shard compares the sizes of all: the bound must be passed twice in a row. Ms. */
export const SKEW_LOOK_MS = 30_000;
/** A call to another shard that was not answered may still arrive for so long. Ms. */
export const LATE_MOVE_MS = 10_000;
/** Writes that wait for the one under way at the shard that places them. */
export const MAX_PLACED_WAITING = 1000;
