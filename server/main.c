#include <stdio.h>

int main(void)
{
    printf("larder %s\n", LARDER_VERSION);
    return 0;
}
