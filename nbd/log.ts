/** Where the server's log goes; pino's loggers are one. The data path asks for its level once. */
export interface Log {
  trace(fields: object, message: string): void
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  isLevelEnabled(level: string): boolean
}

const nothing = (): void => {}

export const SILENT: Log = {
  trace: nothing,
  debug: nothing,
  info: nothing,
  warn: nothing,
  isLevelEnabled: () => false,
}
