/** Version of this package, as /status and --version show it; a test compares it with package.json. */
export const NETCON_VERSION = '0.1.0';
