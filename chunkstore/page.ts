/**
 * Borders of pages. Where data and holes meet inside of one, the page is data: blocks of the file
 * system may be smaller, but reads and writes of whole pages suit O_DIRECT everywhere.
 */
import { PAGE_SIZE } from './limits.ts'

/** @returns where the page begins that holds `position` */
export function pageStart(position: number): number {
  return position - (position % PAGE_SIZE)
}

/** @returns the first border of a page at or after `position` */
export function pageEnd(position: number): number {
  return pageStart(position + PAGE_SIZE - 1)
}
