import pytest
import torch
from safetensors.torch import save_file
from torchgeo.models import resnet18

from pipelines.config.params import Model
from pipelines.errors import BadData, SwathError
from pipelines.training.network import build, first_conv
from pipelines.training.pretrained import load_pretrained

UNET = Model(library="smp", name="Unet", encoder="resnet18")


@pytest.mark.parametrize(
    ("library", "name", "encoder"),
    [
        ("smp", "FPN", "mobilenet_v2"),
        ("smp", "Unet", "tu-resnet10t"),
        ("smp", "Unet", "resnet10t"),  # a timm encoder by its own name
        ("torchgeo", "FCN", "none"),
        ("torchgeo", "FarSeg", "resnet18"),
    ],
)
@pytest.mark.parametrize("bands", [1, 13])
@pytest.mark.parametrize("detail", [0, 8])
def test_networks_take_any_number_of_bands(library, name, encoder, bands, detail):
    network = build(Model(library=library, name=name, encoder=encoder, detail=detail), bands, 5).eval()
    assert network(torch.zeros(2, bands, 64, 96)).shape == (2, 5, 64, 96)


@pytest.mark.parametrize(
    ("library", "name", "encoder", "hint"),
    [
        ("smp", "Unit", "resnet18", "Unet"),
        ("smp", "Unet", "resnet-18", "timm"),
        ("torchgeo", "ChangeStar", "resnet18", "FarSeg"),
        ("torchgeo", "FarSeg", "vgg11", "resnet50"),
        ("torchgeo", "FCN", "resnet18", "none"),
    ],
)
def test_unknown_names_are_refused_with_what_would_do(library, name, encoder, hint):
    with pytest.raises(BadData, match=hint):
        build(Model(library=library, name=name, encoder=encoder), 4, 3)


@pytest.mark.parametrize(("side", "depth"), [(32, 3), (64, 3), (96, 3), (128, 4), (255, 4), (256, 5), (1024, 5)])
def test_a_u_net_of_small_chips_is_shallower(side, depth):
    assert UNET.for_chips(side).depth == depth


def test_depths_are_chosen_only_where_nothing_says_otherwise():
    asked = UNET.model_copy(update={"depth": 5})
    pretrained = UNET.model_copy(update={"weights": "ResNet18_Weights.SENTINEL2_ALL_MOCO"})
    for model in (
        asked,
        pretrained,
        Model(library="smp", name="FPN", encoder="resnet18"),
        Model(library="torchgeo", name="FCN"),
    ):
        assert model.for_chips(64) == model


@pytest.mark.parametrize("encoder", ["resnet18", "tu-resnet10t", "mobilenet_v2"])
@pytest.mark.parametrize("name", ["Unet", "UnetPlusPlus", "MAnet"])
def test_a_shallower_network_halves_as_often_as_it_is_told(name, encoder):
    network = build(Model(library="smp", name=name, encoder=encoder, depth=3, detail=8), 6, 5)
    logits = network(torch.rand(2, 6, 64, 96))
    assert logits.shape == (2, 5, 64, 96)
    deepest = network.coarse.encoder(torch.rand(2, 6, 64, 96))[-1]
    assert deepest.shape[-2:] == (8, 12)


def test_a_shallower_network_carries_no_weights_that_nothing_reaches():
    network = build(UNET.model_copy(update={"depth": 3}), 6, 5)
    network(torch.rand(2, 6, 64, 64)).sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())
    fewer = [sum(p.numel() for p in build(model, 6, 5).parameters()) for model in (UNET.for_chips(64), UNET)]
    assert fewer[0] < fewer[1] / 10


def test_a_whole_network_is_taken_over_bit_for_bit(tmp_path):
    torch.manual_seed(0)
    former = build(UNET, 6, 3)
    save_file({f"network.{k}": v for k, v in former.state_dict().items()}, tmp_path / "weights.safetensors")
    network = build(UNET, 6, 3)
    assert load_pretrained(network, str(tmp_path / "weights.safetensors")) == 1
    images = torch.rand(1, 6, 64, 64)
    assert torch.equal(network.eval()(images), former.eval()(images))


@pytest.mark.parametrize("detail", [0, 8])
@pytest.mark.parametrize("bands", [3, 6, 13])
def test_an_encoder_of_other_bands_gives_activations_of_the_same_size(tmp_path, bands, detail):
    torch.manual_seed(0)
    encoder = resnet18()  # timm's names, three bands, as torchgeo's weights are
    torch.save({"state_dict": encoder.state_dict()}, tmp_path / "encoder.pth")
    whole = build(UNET.model_copy(update={"detail": detail}), bands, 5)
    network = whole.coarse if detail else whole
    head = network.segmentation_head[0].weight.clone()
    load_pretrained(whole, str(tmp_path / "encoder.pth"))
    grey = torch.rand(2, 1, 32, 32)
    expected = torch.nn.functional.conv2d(grey.repeat(1, 3, 1, 1), encoder.conv1.weight, stride=2, padding=3)
    assert torch.allclose(first_conv(network)[1](grey.repeat(1, bands, 1, 1)), expected, atol=1e-5)
    assert torch.equal(network.encoder.layer4[1].conv2.weight, encoder.layer4[1].conv2.weight)
    assert torch.equal(network.segmentation_head[0].weight, head)


def test_bands_that_the_weights_know_keep_their_kernels_in_any_order(tmp_path):
    encoder = resnet18()
    torch.save(encoder.state_dict(), tmp_path / "encoder.pth")
    kernel = encoder.conv1.weight
    network = build(UNET, 4, 5)
    load_pretrained(network, str(tmp_path / "encoder.pth"), ["B02", "B08", "B03", "B04"], ["B04", "B03", "B02"])
    found = first_conv(network)[1].weight
    for band, former in ((0, 2), (2, 1), (3, 0)):
        assert torch.allclose(found[:, band], kernel[:, former] * 3 / 4)
    assert torch.allclose(found[:, 1], kernel.mean(1) * 3 / 4)
    stack = build(UNET, 4, 5)
    load_pretrained(stack, str(tmp_path / "encoder.pth"), ["B02", "B04", "B02-1", "B04-1"], ["B04", "B03", "B02"])
    for band, former in ((0, 2), (1, 0), (2, 2), (3, 0)):
        assert torch.allclose(first_conv(stack)[1].weight[:, band], kernel[:, former] * 3 / 4)
    turned = build(UNET, 3, 5)
    load_pretrained(turned, str(tmp_path / "encoder.pth"), ["B02", "B03", "B04"], ["B04", "B03", "B02"])
    image = torch.rand(1, 3, 32, 32)
    expected = torch.nn.functional.conv2d(image, kernel, stride=2, padding=3)
    assert torch.allclose(first_conv(turned)[1](image.flip(1)), expected, atol=1e-5)
    with pytest.raises(BadData, match="take 3 bands"):
        load_pretrained(network, str(tmp_path / "encoder.pth"), ["B02", "B08", "B03", "B04"], ["B04"])


def test_weights_of_another_architecture_are_refused(tmp_path):
    torch.save(build(Model(library="torchgeo", name="FCN", encoder="none"), 3, 2).state_dict(), tmp_path / "fcn.pth")
    with pytest.raises(BadData, match="another architecture"):
        load_pretrained(build(UNET, 3, 2), str(tmp_path / "fcn.pth"))


def test_a_pickle_with_code_in_it_is_refused_unread(tmp_path):
    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "sprung"), "w"))

    torch.save({"conv1.weight": Trap()}, tmp_path / "trap.pth")
    with pytest.raises(BadData, match="cannot be read as weights"):
        load_pretrained(build(UNET, 3, 2), str(tmp_path / "trap.pth"))
    assert not (tmp_path / "sprung").exists()


@pytest.mark.parametrize("content", [b"", b"no weights\n", b"\x80\x04}", bytes(range(200, 256)) * 40])
def test_a_damaged_file_is_no_weights(tmp_path, content):
    (tmp_path / "cut.pth").write_bytes(content)
    with pytest.raises(BadData, match=r"cannot be read as weights \(\w+\)\. Give a file") as caught:
        load_pretrained(build(UNET, 3, 2), str(tmp_path / "cut.pth"))
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["model", "model_state_dict", "teacher"])
def test_weights_are_found_where_a_checkpoint_keeps_them(tmp_path, name):
    torch.save({name: build(UNET, 3, 2).state_dict(), "epoch": 3}, tmp_path / "checkpoint.pth")
    assert load_pretrained(build(UNET, 3, 2), str(tmp_path / "checkpoint.pth")) == 1


def test_a_name_that_torchgeo_does_not_know_is_refused():
    with pytest.raises(BadData, match="neither a file here nor the name"):
        load_pretrained(build(UNET, 3, 2), "ResNet18_Weights.SENTINEL2_ALL_MUCO")


def test_torchgeo_weights_that_cannot_be_downloaded_may_be_tried_again(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing listens there
    with pytest.raises(SwathError, match="cannot be downloaded") as caught:
        load_pretrained(build(UNET, 13, 2), "ResNet18_Weights.SENTINEL2_ALL_MOCO")
    assert not isinstance(caught.value, BadData)
