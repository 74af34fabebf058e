# The addon netcon_io.node: C, Node-API and libuv only.
{
  'targets': [
    {
      'target_name': 'netcon_io',
      'sources': ['module.c', 'poll.c', 'unix.c', 'udp.c', 'file.c'],
      'defines': ['_GNU_SOURCE', 'NAPI_VERSION=8'],
      'cflags': [
        '-std=gnu11', '-O2', '-fvisibility=hidden', '-Wall', '-Wextra', '-Wshadow', '-Wvla',
        '-Werror',
      ],
      'cflags!': ['-Wno-unused-parameter', '-O3'],
    },
  ],
}
